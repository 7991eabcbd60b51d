//! Redis over TLS, with an authority of the operator's own and a password.

use std::{fs, net::TcpListener};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;

use crate::{harness::Home, redis_server::RedisServer};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

/// A Redis that takes TLS connections only (and its test's, on a unix socket), and the file of the authority that vouches for it.
struct TlsRedis {
    _redis: RedisServer,
    url: String,
    _files: tempfile::TempDir,
    ca_file: String,
}

impl TlsRedis {
    fn start() -> Self {
        let files = tempfile::tempdir().expect("a temporary directory can be made");
        let file = |name: &str, text: &str| {
            let path = files.path().join(name);
            fs::write(&path, text).expect("a file can be written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key can be made"))
            .expect("well-formed");
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = CertificateParams::new(["localhost".to_owned()])
            .expect("a name")
            .signed_by(&key, &authority)
            .expect("well-formed");
        let ca_file = file("ca.pem", &authority.pem());
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port()
            .to_string();
        let redis = RedisServer::with(&[
            ("tls-port", &port),
            ("tls-cert-file", &file("redis.pem", &certificate.pem())),
            ("tls-key-file", &file("redis.key", &key.serialize_pem())),
            ("tls-ca-cert-file", &ca_file),
            ("tls-auth-clients", "no"),
        ]);
        redis::cmd("ACL")
            .arg(&["SETUSER", "merlink", "on", ">over-the-wire", "~*", "&*", "+@all"])
            .exec(&mut redis.connect().expect("it answers"))
            .expect("a user can be made");
        Self { _redis: redis, url: format!("rediss://merlink:over-the-wire@localhost:{port}"), _files: files, ca_file }
    }
}

#[test]
fn a_redis_behind_tls_and_a_password_serves_links_and_counts_clicks() {
    let redis = TlsRedis::start();
    let server = Home::new().set("redis.url", &redis.url).set("redis.tls_ca_file", &redis.ca_file).start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    server.follow("form").assert_redirects("over TLS", TARGET);
    amy.sees_clicks("form", 1);
    amy.update("form", &json!({"state": "INACTIVE"})).assert_v1_status("switched off", 200);
    assert_eq!(server.follow("form").status, 410);
}

#[test]
fn a_redis_whose_authority_is_not_trusted_is_refused_without_a_word_of_the_password() {
    let redis = TlsRedis::start();
    let ran = Home::new().set("redis.url", &redis.url).run(&["check"]);
    ran.assert_code(1).assert_names(&["certificate", "localhost"]);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("over-the-wire"));
}

#[test]
fn a_missing_authority_file_is_named() {
    let home = Home::new().set("redis.url", "rediss://localhost:1").set("redis.tls_ca_file", "/nowhere/ca.pem");
    home.run(&["check"]).assert_code(1).assert_names(&["redis.tls_ca_file", "/nowhere/ca.pem"]);
}
