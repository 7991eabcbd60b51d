//! Where a request comes from, when proxies stand between.

use std::net::IpAddr;

use actix_web::dev::RequestHead;
use ipnet::IpNet;

/// The address of the client: the connection's own, or, when that is a trusted proxy, the right-most entry of `X-Forwarded-For` that
/// isn't one. Entries further left are whatever the client claimed. `None` on a unix socket.
pub fn address(request: &RequestHead, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut address = request.peer_addr?.ip().to_canonical();
    if trusted.is_empty() {
        return Some(address);
    }
    let headers: Vec<&str> =
        request.headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect();
    for entry in headers.iter().rev().flat_map(|value| value.rsplit(',')) {
        if !trusted.iter().any(|network| network.contains(&address)) {
            break;
        }
        match parse(entry.trim()) {
            Some(forwarded) => address = forwarded,
            None => break,
        }
    }
    Some(address)
}

/// What counts as one visitor: an IPv4 address, or the /64 network that one IPv6 host is given whole.
pub fn visitor(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

/// The network of `bits` leading bits that an address is in.
pub fn network(address: IpAddr, bits: u8) -> IpAddr {
    match IpNet::new(address, bits) {
        Ok(network) => network.network(),
        // Longer than the address: a network of its own.
        Err(_) => address,
    }
}

/// The largest network that one customer is commonly given: an IPv4 /24, an IPv6 /48.
pub fn widest_network(address: IpAddr) -> IpAddr {
    network(address, if address.is_ipv4() { 24 } else { 48 })
}

/// An address, with or without a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let with_port = || entry.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    entry.parse::<IpAddr>().ok().or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut request = TestRequest::default().peer_addr(format!("{peer}:1234").parse().expect("an address"));
        for value in forwarded {
            request = request.append_header(("X-Forwarded-For", *value));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().expect("a network")).collect();
        address(request.to_http_request().head(), &trusted).expect("a peer").to_string()
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        assert_eq!(seen("9.9.9.9", &["1.2.3.4"], &[]), "9.9.9.9");
        assert_eq!(seen("9.9.9.9", &["1.2.3.4"], &["10.0.0.0/8"]), "9.9.9.9");
    }

    #[test]
    fn an_ipv6_host_cannot_pose_as_many() {
        let one: IpAddr = "2001:db8::1".parse().expect("an address");
        let other: IpAddr = "2001:db8::ffff:2".parse().expect("an address");
        assert_eq!(visitor(one), visitor(other));
        let v4: IpAddr = "1.2.3.4".parse().expect("an address");
        assert_eq!(visitor(v4), v4);
    }

    #[test]
    fn the_first_stranger_from_the_right_is_the_client() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.2.3.4"], &trusted), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.2.3.4"], &trusted), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "1.2.3.4"], &trusted), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.2.3.4:80"], &trusted), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4, garbage"], &trusted), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[], &trusted), "10.0.0.1");
        assert_eq!(seen("[::ffff:10.0.0.1]", &["2001:db8::1"], &trusted), "2001:db8::1");
    }
}
