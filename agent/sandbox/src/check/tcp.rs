//! TCP probes: somebody accepts connections.

use std::time::Duration;

use tokio::net::TcpStream;

use super::ProbeError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpProbe {
    /// Name or address.
    pub host: String,
    pub port: u16,
}

pub(super) async fn run(probe: &TcpProbe, timeout: Duration) -> Result<(), ProbeError> {
    match tokio::time::timeout(timeout, TcpStream::connect((probe.host.as_str(), probe.port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(ProbeError::Connect(format!("{}:{}: {error}", probe.host, probe.port))),
        Err(_) => Err(ProbeError::Timeout(timeout)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn probe(port: u16) -> TcpProbe {
        TcpProbe { host: "127.0.0.1".into(), port }
    }

    #[tokio::test]
    async fn a_listener_passes_and_its_absence_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(run(&probe(port), Duration::from_secs(5)).await, Ok(()));
        drop(listener);
        let refused = run(&probe(port), Duration::from_secs(5)).await;
        assert!(matches!(refused, Err(ProbeError::Connect(_))), "{refused:?}");
    }
}
