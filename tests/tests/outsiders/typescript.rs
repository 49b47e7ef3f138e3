//! The OpenRPC document, checked by OpenRPC's own meta-schema, and its TypeScript client, made by OpenRPC's generator. The
//! dashboard of an example, checked by the types that Grafana publishes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jsonschema::{Draft, Registry};
use rpc_runtime::description::OpenRpc;
use serde_json::{Value, json};
use tests::packages::{self, required, run};

use crate::bank::{BankClient, TextClient};

/// The folder with the list of packages and a program that uses the generated client.
const OUTSIDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/typescript");

const DASHBOARD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/observability/grafana.json"
);

/// The maximum time of a program.
const PROGRAM: Duration = Duration::from_secs(180);

/// The folder for files of these tests.
const TEMPORARY: &str = env!("CARGO_TARGET_TMPDIR");

#[test]
fn document_passes_the_meta_schema_and_generates_a_typescript_client() {
    let Some(home) = installed() else { return };
    the_meta_schema_accepts(&home);
    the_generated_client_compiles(&home);
}

#[test]
fn dashboard_has_the_types_of_grafana_and_other_types_are_rejected() {
    let Some(home) = installed() else { return };
    let work = home.join(format!("dashboard-{}", std::process::id()));
    let _ = fs::remove_dir_all(&work);
    fs::create_dir(&work).unwrap();
    let module = "dashboard.ts";
    fs::copy(Path::new(OUTSIDER).join(module), work.join(module)).unwrap();
    let check = |dashboard: &str| {
        let program = format!(
            "import type {{ Dashboard }} from \"./dashboard\";\nexport const dashboard: Dashboard = {dashboard};\n"
        );
        fs::write(work.join("check.ts"), program).unwrap();
        let mut compile = Command::new(home.join("node_modules/.bin/tsc"));
        compile.args(["--noEmit", "--strict", "--skipLibCheck"]);
        compile.args(["--moduleResolution", "node", "--types", "node"]);
        run(compile.arg("check.ts").current_dir(&work), PROGRAM)
    };
    let dashboard = fs::read_to_string(DASHBOARD).unwrap();
    check(&dashboard).unwrap_or_else(|output| panic!("no dashboard of Grafana: {output}"));
    for (right, wrong) in [
        (r#""gridPos""#, r#""gridpos""#),
        (r#""displayMode": "list""#, r#""displayMode": "lists""#),
        (r#""legendFormat""#, r#""legend""#),
        (r#""hide": 0"#, r#""hide": 9"#),
        (r#""unit": "reqps""#, r#""unit": 3"#),
    ] {
        assert!(dashboard.contains(right), "{right}");
        let output = check(&dashboard.replace(right, wrong)).unwrap_err();
        assert!(output.contains("check.ts("), "{wrong}: {output}");
    }
    fs::remove_dir_all(&work).unwrap();
}

/// Returns the folder with the pinned packages. Returns `None`, and says why, if there is none and none is required.
fn installed() -> Option<PathBuf> {
    let home = Path::new(TEMPORARY).join("typescript");
    required(packages::npm(OUTSIDER.as_ref(), &home), "NODE")
}

fn the_meta_schema_accepts(home: &Path) {
    let read = |path: &str| -> Value {
        let text = fs::read(home.join("node_modules").join(path)).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let mut meta = read("@open-rpc/spec/dist/1_4/schema.json");
    let mut of_schemas = read("@json-schema-tools/meta-schema/schema.json");
    // They name themselves as their meta-schema, which no validator knows.
    for schema in [&mut meta, &mut of_schemas] {
        schema.as_object_mut().unwrap().remove("$schema");
    }
    let places = [
        "https://meta.json-schema.tools",
        "https://meta.json-schema.tools/",
    ];
    let known = places.map(|place| (place, of_schemas.clone()));
    let registry = Registry::new().draft(Draft::Draft7).extend(known).unwrap();
    let registry = registry.prepare().unwrap();
    let options = jsonschema::options().with_draft(Draft::Draft7);
    let validator = options.with_registry(&registry).build(&meta).unwrap();

    let document = serde_json::to_value(OpenRpc::of::<BankClient>().and::<TextClient>()).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&document)
        .map(|it| it.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");

    // The validator rejects these changes.
    for (place, wrong) in [
        ("/methods/0/name", Value::Null),
        ("/methods/0/params/0/schema/type", json!("integr")),
        ("/methods/0/errors/0/code", json!("2001")),
        ("/openrpc", json!("1.3.2")),
        ("/components/schemas/Account/required", json!(3)),
    ] {
        let mut document = document.clone();
        *document.pointer_mut(place).unwrap() = wrong;
        assert!(
            !validator.is_valid(&document),
            "{place} is wrong and accepted"
        );
    }
}

fn the_generated_client_compiles(home: &Path) {
    let work = home.join(format!("client-{}", std::process::id()));
    let _ = fs::remove_dir_all(&work);
    fs::create_dir(&work).unwrap();
    let document = work.join("openrpc.json");
    fs::write(&document, OpenRpc::of::<BankClient>().to_json()).unwrap();
    let bin = home.join("node_modules/.bin");
    let mut generate = Command::new(bin.join("open-rpc-generator"));
    generate.args(["generate", "-t", "client", "-l", "typescript", "-n", "bank"]);
    generate.arg("-d").arg(&document).arg("-o").arg(&work);
    run(&mut generate, PROGRAM).unwrap_or_else(|output| panic!("no client: {output}"));
    for file in ["use.ts", "tsconfig.json"] {
        fs::copy(Path::new(OUTSIDER).join(file), work.join(file)).unwrap();
    }
    let mut compile = Command::new(bin.join("tsc"));
    compile.arg("--project").arg(&work);
    run(&mut compile, PROGRAM)
        .unwrap_or_else(|output| panic!("the client is no TypeScript: {output}"));
    fs::remove_dir_all(&work).unwrap();
}
