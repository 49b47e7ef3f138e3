//! Checks that Kubernetes understands the manifests, and that they agree with the programs.

use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodSpec, Probe, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kubernetes::{ANNOUNCEMENT, DRAIN, HTTP_PORT, PORT};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Returns the documents of a file.
fn manifests(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let documents = yaml_serde::Deserializer::from_str(&text);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// Reads a manifest as its type.
///
/// A field that the type does not know is missing when the manifest is written again, which is an error.
fn read<T: DeserializeOwned + Serialize>(manifest: &Value) -> Result<T, String> {
    let typed: T = serde_json::from_value(manifest.clone()).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(&typed).map_err(|error| error.to_string())?;
    match &known == manifest {
        true => Ok(typed),
        false => Err(format!("{manifest:#} is understood as {known:#}")),
    }
}

fn server() -> (Service, Deployment) {
    let [service, deployment] = &manifests("server.yaml")[..] else {
        panic!("a service and a deployment")
    };
    (read(service).unwrap(), read(deployment).unwrap())
}

fn client() -> Deployment {
    let [deployment] = &manifests("client.yaml")[..] else {
        panic!("a deployment")
    };
    read(deployment).unwrap()
}

fn ingress() -> (Service, Ingress) {
    let [service, ingress] = &manifests("ingress.yaml")[..] else {
        panic!("a service and an ingress")
    };
    (read(service).unwrap(), read(ingress).unwrap())
}

fn pod(deployment: &Deployment) -> &PodSpec {
    let spec = deployment.spec.as_ref().unwrap();
    let labels = spec.template.metadata.as_ref().unwrap().labels.as_ref();
    assert_eq!(spec.selector.match_labels.as_ref(), labels);
    spec.template.spec.as_ref().unwrap()
}

fn container(pod: &PodSpec) -> &Container {
    let [container] = &pod.containers[..] else {
        panic!("one container")
    };
    container
}

#[test]
fn a_misspelt_field_is_found() {
    let manifest = manifests("server.yaml").remove(1);
    let text = manifest.to_string();
    for (right, wrong) in [
        ("readinessProbe", "readynessProbe"),
        ("terminationGracePeriodSeconds", "terminationGracePeriod"),
        ("secretName", "secret"),
        ("\"periodSeconds\":5", "\"periodSeconds\":\"5\""),
    ] {
        assert!(text.contains(right), "{right}");
        let misspelt: Value = serde_json::from_str(&text.replace(right, wrong)).unwrap();
        assert!(read::<Deployment>(&misspelt).is_err(), "{wrong}");
    }
}

#[test]
fn the_service_is_headless_and_leads_to_the_servers_port() {
    let (service, deployment) = server();
    let spec = service.spec.unwrap();
    assert_eq!(spec.cluster_ip.as_deref(), Some("None"));
    let labels = deployment
        .spec
        .as_ref()
        .unwrap()
        .template
        .metadata
        .as_ref()
        .unwrap()
        .labels
        .clone();
    assert_eq!(spec.selector, labels);
    let ports = spec.ports.unwrap();
    let container = container(pod(&deployment));
    let listening = container.ports.as_ref().unwrap();
    assert_eq!((ports.len(), listening.len()), (1, 2));
    assert_eq!(ports[0].protocol.as_deref(), Some("UDP"));
    assert_eq!(ports[0].port, i32::from(PORT));
    assert_eq!(ports[0].target_port.clone().map(name), listening[0].name);
    assert_eq!(listening[0].protocol.as_deref(), Some("UDP"));
    assert_eq!(listening[0].container_port, i32::from(PORT));
}

fn name(port: IntOrString) -> String {
    match port {
        IntOrString::String(name) => name,
        IntOrString::Int(number) => panic!("{number} is no name"),
    }
}

#[test]
fn the_ingress_leads_to_the_http_port_of_each_pod_and_to_the_host_that_the_server_allows() {
    let (service, ingress) = ingress();
    let (headless, deployment) = server();
    let spec = service.spec.unwrap();
    assert_eq!(spec.selector, headless.spec.unwrap().selector);
    let ports = spec.ports.unwrap();
    let container = container(pod(&deployment));
    let listening = &container.ports.as_ref().unwrap()[1];
    assert_eq!(ports.len(), 1);
    assert_eq!(ports[0].protocol.as_deref(), Some("TCP"));
    assert_eq!(ports[0].target_port.clone().map(name), listening.name);
    assert_eq!(listening.protocol.as_deref(), Some("TCP"));
    assert_eq!(listening.container_port, i32::from(HTTP_PORT));

    let spec = ingress.spec.unwrap();
    let [rule] = &spec.rules.unwrap()[..] else {
        panic!("one rule")
    };
    let env = container.env.as_ref().unwrap();
    let allowed = env.iter().find(|variable| variable.name == "RPC_HOST");
    assert_eq!(allowed.unwrap().value, rule.host);
    let [tls] = &spec.tls.unwrap()[..] else {
        panic!("one certificate")
    };
    assert_eq!(tls.hosts.as_ref().unwrap().first(), rule.host.as_ref());
    let [path] = &rule.http.as_ref().unwrap().paths[..] else {
        panic!("one path")
    };
    assert_eq!(
        (path.path.as_deref(), path.path_type.as_str()),
        (Some("/rpc"), "Exact")
    );
    let backend = path.backend.service.as_ref().unwrap();
    assert_eq!(Some(&backend.name), service.metadata.name.as_ref());
    let port = backend.port.as_ref().unwrap();
    assert_eq!(port.name, ports[0].name);
}

#[test]
fn a_pod_is_ready_while_it_serves_and_alive_while_it_answers_a_ping() {
    let (_, deployment) = server();
    let container = container(pod(&deployment));
    let command = |probe: &Option<Probe>| {
        let exec = probe.as_ref().unwrap().exec.clone().unwrap();
        exec.command.unwrap().join(" ")
    };
    let health = format!("rpc health 127.0.0.1:{PORT} --ca /etc/rpc/ca.crt");
    let ping = format!("rpc ping 127.0.0.1:{PORT} --ca /etc/rpc/ca.crt");
    assert_eq!(command(&container.readiness_probe), health);
    assert_eq!(command(&container.liveness_probe), ping);
}

#[test]
fn a_pod_has_the_time_that_its_server_takes_to_end() {
    let (_, deployment) = server();
    let grace = pod(&deployment).termination_grace_period_seconds.unwrap();
    let close = 3;
    let takes = (ANNOUNCEMENT + DRAIN).as_secs() as i64 + close;
    assert!(grace > takes, "{grace} s");
}

#[test]
fn a_pod_serves_until_its_probe_and_the_clients_know_that_it_stops() {
    let (_, deployment) = server();
    let probe = container(pod(&deployment))
        .readiness_probe
        .as_ref()
        .unwrap();
    let notices = probe.period_seconds.unwrap() * probe.failure_threshold.unwrap();
    let resolved_every = 5;
    assert!(ANNOUNCEMENT.as_secs() as i32 >= notices + resolved_every);
}

#[test]
fn every_file_comes_from_the_secret() {
    for deployment in [server().1, client()] {
        let pod = pod(&deployment);
        let [mount] = &container(pod).volume_mounts.as_ref().unwrap()[..] else {
            panic!("one mount")
        };
        assert_eq!(
            (mount.mount_path.as_str(), mount.read_only),
            ("/etc/rpc", Some(true))
        );
        let [volume] = &pod.volumes.as_ref().unwrap()[..] else {
            panic!("one volume")
        };
        assert_eq!(volume.name, mount.name);
        let secret = volume.secret.as_ref().unwrap();
        assert_eq!(secret.secret_name.as_deref(), Some("greeter"));
    }
}

#[test]
fn the_client_calls_the_service_by_its_name() {
    let service = server().0.metadata.name.unwrap();
    let deployment = client();
    let env = container(pod(&deployment)).env.as_ref().unwrap();
    let called = env
        .iter()
        .find(|variable| variable.name == "RPC_SERVICE")
        .unwrap();
    assert_eq!(called.value, Some(format!("{service}:{PORT}")));
}
