//! The server over a real socket: certificates, reason phrases, ports of nodes that are off.

use super::stage::Stage;
use crate::lab::Flavour;
use crate::lab::api::serve;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

fn client(ca_pem: &str) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).expect("the lab's authority");
    reqwest::Client::builder().tls_certs_only([ca]).timeout(Duration::from_secs(20)).build().expect("a client")
}

#[test]
fn a_client_that_trusts_the_labs_authority_logs_in_and_asks() {
    let stage = Stage::new(2, Flavour::Pve8);
    let server = serve(stage.lab.clone(), "127.0.0.1:0".parse().expect("an address")).expect("served");
    let mode = std::fs::metadata(&server.secrets_file).expect("the secrets").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let http = client(&server.ca_pem);
        let url = |node: &str, path: &str| format!("{}/api2/json{path}", server.urls[node]);
        let form = [("username", "root@pam"), ("password", server.root_password())];
        let reply = http.post(url("pve1", "/access/ticket")).form(&form).send().await.expect("an answer");
        let data: serde_json::Value = reply.json().await.expect("JSON");
        let cookie = format!("PVEAuthCookie={}", data["data"]["ticket"].as_str().expect("a ticket"));

        // The ticket holds on every node, and each presents the certificate that `/nodes` names.
        let nodes = http.get(url("pve2", "/nodes")).header("cookie", &cookie).send().await.expect("an answer");
        let nodes: serde_json::Value = nodes.json().await.expect("JSON");
        assert_eq!(nodes["data"][1]["ssl_fingerprint"].as_str(), server.fingerprints.get("pve2").map(String::as_str));

        let told =
            http.get(url("pve1", "/cluster/config/join")).header("cookie", &cookie).send().await.expect("an answer");
        let told: serde_json::Value = told.json().await.expect("JSON");
        assert_eq!(told["data"]["nodelist"][1]["pve_fp"], nodes["data"][1]["ssl_fingerprint"]);
        assert_eq!(told["data"]["preferred_node"], "pve1");
        let info = http.get(url("pve1", "/nodes/pve2/certificates/info")).header("cookie", &cookie);
        let info: serde_json::Value = info.send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(info["data"][0]["filename"], "pve-root-ca.pem");
        assert_eq!(info["data"][0]["pem"].as_str(), Some(server.ca_pem.trim_end()));
        assert_eq!(info["data"][1]["fingerprint"], nodes["data"][1]["ssl_fingerprint"]);
        assert_eq!((&info["data"][1]["subject"], info["data"].as_array().map(Vec::len)), (&"/CN=pve2".into(), Some(2)));

        // PVE 8 says why in the reason phrase alone.
        let asked = http.get(url("pve1", "/storage/nosuch")).header("cookie", &cookie).send().await.expect("an answer");
        assert_eq!(asked.status().as_u16(), 500);
        let phrase = asked.extensions().get::<hyper::ext::ReasonPhrase>().map(|p| p.as_bytes().to_vec());
        assert_eq!(phrase.as_deref(), Some(b"storage 'nosuch' does not exist".as_slice()));
        assert_eq!(asked.text().await.expect("a body"), r#"{"data":null}"#);

        let refused = http.get(url("pve1", "/version")).send().await.expect("an answer");
        assert_eq!(refused.status().as_u16(), 401);

        stage.world(|world| world.node_mut("pve2").off = true);
        assert!(http.get(url("pve2", "/version")).header("cookie", &cookie).send().await.is_err(), "it is off");
        let dead =
            http.get(url("pve1", "/nodes/pve2/status")).header("cookie", &cookie).send().await.expect("an answer");
        assert_eq!(dead.status().as_u16(), 595);
    });
}

#[test]
fn only_loopback_is_served() {
    let stage = Stage::new(1, Flavour::Pve9);
    let error = serve(stage.lab.clone(), "0.0.0.0:0".parse().expect("an address")).expect_err("refused");
    assert!(error.to_string().contains("not a loopback address"), "{error}");
}
