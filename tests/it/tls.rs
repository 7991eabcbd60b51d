//! Redis over TLS, with an authority of the operator's own and a password.

use std::{fs, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, DnType, IsCa, KeyPair,
    generate_simple_self_signed,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{Home, eventually},
    redis_nodes::{Cluster, Node, free_port},
    redis_server::RedisServer,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

/// An authority, and a server's certificate that it signed.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than the server's: OpenSSL takes a certificate whose issuer has its own name for self-signed.
        authority.distinguished_name.push(DnType::CommonName, "an authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key can be made"))
            .expect("well-formed");
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .expect("names")
            .signed_by(&key, &authority)
            .expect("well-formed");
        for (name, text) in
            [("ca.pem", authority.pem()), ("redis.pem", certificate.pem()), ("redis.key", key.serialize_pem())]
        {
            fs::write(folder.path().join(name), text).expect("a file can be written");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// A redis-server's settings.
    fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("tls-cert-file", self.path("redis.pem")),
            ("tls-key-file", self.path("redis.key")),
            ("tls-ca-cert-file", self.path("ca.pem")),
            ("tls-auth-clients", "no".to_owned()),
        ]
    }
}

/// A Redis that takes TLS connections only (and its test's, on a unix socket), and the file of the authority that vouches for it.
struct TlsRedis {
    _redis: RedisServer,
    url: String,
    certificates: Certificates,
}

impl TlsRedis {
    fn start() -> Self {
        let certificates = Certificates::new();
        let port = free_port();
        let mut settings = certificates.settings().to_vec();
        settings.push(("tls-port", port.to_string()));
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let redis = RedisServer::with(&settings);
        redis::cmd("ACL")
            .arg(&["SETUSER", "merlink", "on", ">over-the-wire", "~*", "&*", "+@all"])
            .exec(&mut redis.connect().expect("it answers"))
            .expect("a user can be made");
        Self { _redis: redis, url: format!("rediss://merlink:over-the-wire@localhost:{port}"), certificates }
    }
}

/// What a server on `localhost` that vouches for itself shows its clients, and how it speaks TLS.
pub fn localhost() -> (String, Arc<rustls::ServerConfig>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key))
        .expect("well-formed");
    (cert.pem(), Arc::new(tls))
}

/// Starts merlink on a Redis, and uses it.
fn assert_serves_and_counts(url: &str, certificates: &Certificates) {
    let server = Home::new().set("redis.url", url).set("redis.tls_ca_file", certificates.path("ca.pem")).start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    server.follow("form").assert_redirects("over TLS", TARGET);
    amy.sees_clicks("form", 1);
    amy.update("form", &json!({"state": "INACTIVE"})).assert_v1_status("switched off", 200);
    assert_eq!(server.follow("form").status, 410);
}

#[test]
fn a_redis_behind_tls_and_a_password_serves_links_and_counts_clicks() {
    let redis = TlsRedis::start();
    assert_serves_and_counts(&redis.url, &redis.certificates);
}

#[test]
fn sentinels_and_their_primary_behind_tls_do_too() {
    let certificates = Certificates::new();
    let tls = tls_only(&certificates);
    let primary = Node::start(&format!("{tls}tls-replication yes\n"), "");
    let monitor = format!("{tls}tls-replication yes\nsentinel monitor main 127.0.0.1 {} 1\n", primary.port());
    let sentinel = Node::start_sentinel(&monitor, "");
    assert_serves_and_counts(&format!("rediss-sentinel://localhost:{}/main", sentinel.port()), &certificates);
}

#[test]
fn a_cluster_behind_tls_does_too() {
    let certificates = Certificates::new();
    let settings = format!("{}tls-cluster yes\ncluster-enabled yes\ncluster-port {{other}}\n", tls_only(&certificates));
    let nodes: Vec<Node> = (0..3).map(|_| Node::start(&settings, "")).collect();
    let mut arguments = vec!["create".to_owned()];
    arguments.extend(nodes.iter().map(Node::address));
    arguments.extend(["--tls", "--cacert", &certificates.path("ca.pem")].map(str::to_owned));
    Cluster::manage(&arguments);
    eventually("the Cluster is whole", || {
        nodes.iter().all(|node| node.info(&["CLUSTER", "INFO"], "cluster_state") == "ok").then_some(())
    });
    assert_serves_and_counts(&format!("rediss-cluster://{}", nodes[0].address()), &certificates);
}

/// The settings of a node that takes nothing but TLS.
fn tls_only(certificates: &Certificates) -> String {
    let settings = certificates.settings().map(|(name, value)| format!("{name} {value}\n"));
    format!("port 0\ntls-port {{port}}\n{}", settings.concat())
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
