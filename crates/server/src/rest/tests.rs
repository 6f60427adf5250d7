use std::collections::{BTreeMap, BTreeSet};

use axum::routing::MethodFilter;
use tidegate_core::EngineChoice;
use tidegate_engines::{Engines, PORTABLE};
use tidegate_gateway::{Permission, Role};
use tidegate_serving::{MetricRegistry, Models, Serving};

use super::*;
use crate::grpc::{METHODS, NAMED};
use crate::{ServerComponents, ServerConfig};

/// The routes that probes, load balancers and newcomers read without credentials, and no
/// others.
const PUBLIC: [&str; 14] = [
    "/",
    "/api/whoami",
    "/console/assets/{name}",
    "/console/login",
    "/console/login/oidc",
    "/console/login/callback",
    "/v1/models/{model}",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{model}/ready",
    "/v2/models/{model}/versions/{version}/ready",
    "/docs",
    "/openapi.json",
];

/// The forms of the console that begin and end a session. They check that they come from a page of
/// the server, and change nothing else.
const SESSION_FORMS: [&str; 2] = ["/console/login", "/console/logout"];

/// Every route of a server, with the methods that OpenAPI describes.
fn declared() -> (BTreeMap<(&'static str, String), Permission>, Operations) {
    let routes = server_routes();
    let operations = operations(routes.openapi());
    let mut declared = BTreeMap::new();
    for (method, path, permission) in routes.declared() {
        let before = declared.insert((name(method), path.to_owned()), permission);
        assert_eq!(before, None, "{path} is declared twice");
    }
    (declared, operations)
}

fn server_routes() -> Routes<()> {
    let registry = Arc::new(MetricRegistry::new());
    let engines = Engines::discover(None, EngineChoice::from(PORTABLE));
    let models = Models::new(Vec::new(), engines, &registry);
    let serving = Arc::new(Serving::new(models));
    let components = ServerComponents::minimal(ServerConfig::default(), serving, registry).unwrap();
    routes(components.front_end.clone(), &components.list)
}

#[tokio::test]
async fn every_route_that_changes_something_is_audited() {
    assert_eq!(server_routes().not_audited(), [""; 0]);
}

type Operations = BTreeSet<(&'static str, String)>;

fn name(method: MethodFilter) -> &'static str {
    match method {
        MethodFilter::GET => "GET",
        MethodFilter::POST => "POST",
        MethodFilter::PUT => "PUT",
        MethodFilter::DELETE => "DELETE",
        other => panic!("{other:?} has no name here"),
    }
}

fn operations(openapi: &utoipa::openapi::OpenApi) -> Operations {
    let mut operations = BTreeSet::new();
    for (path, item) in &openapi.paths.paths {
        let path = path.replace("{model}:predict", "{model}");
        for (method, operation) in [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("DELETE", &item.delete),
        ] {
            if operation.is_some() {
                operations.insert((method, path.clone()));
            }
        }
    }
    operations
}

#[tokio::test]
async fn every_described_operation_declares_a_permission() {
    let (declared, operations) = declared();
    assert!(operations.len() > 25, "{operations:?}");
    for operation in &operations {
        assert!(declared.contains_key(operation), "{operation:?}");
    }
    for route @ (_, path) in declared.keys() {
        let is_page = path == "/" || path.starts_with("/console");
        assert!(
            is_page || operations.contains(route),
            "{route:?} is not described"
        );
    }
}

#[tokio::test]
async fn only_probes_and_descriptions_are_public() {
    for ((method, path), permission) in declared().0 {
        let is_public = permission == Permission::Public;
        let may_be = match method {
            "GET" => PUBLIC.contains(&path.as_str()),
            "POST" => SESSION_FORMS.contains(&path.as_str()),
            _ => false,
        };
        assert!(!is_public || may_be, "{method} {path} is public");
    }
}

#[tokio::test]
async fn what_changes_the_server_needs_a_permission_to_change() {
    const QUESTIONS: [&str; 8] = [
        "/api/traffic/{name}/check",
        "/console/try",
        // Labels change what is known of the model, and nothing that the server does.
        "/v1/endpoints/{name}/feedback",
        "/v1/endpoints/{name}/predict",
        "/v1/models/{model}",
        "/v2/models/{model}/infer",
        "/v2/models/{model}/versions/{version}/infer",
        "/v2/repository/index",
    ];
    for ((method, path), permission) in declared().0 {
        let path = path.as_str();
        if path == "/api/keys" {
            // Also to read them: what keys there are is for those who manage them.
            assert_eq!(permission, Permission::ManageKeys);
            continue;
        }
        let is_question =
            method == "GET" || QUESTIONS.contains(&path) || SESSION_FORMS.contains(&path);
        assert_eq!(permission.is_change(), !is_question, "{method} {path}");
    }
}

/// The page of the reference that is made from the lists of routes and methods. `UPDATE_DOCS=1`
/// writes it anew.
#[tokio::test]
async fn routes_page_is_made_from_the_lists() {
    let mut page = String::from(ROUTES_PAGE);
    for permission in Permission::ALL {
        let kind = match permission {
            Permission::Public => "",
            other => other.resource_kind().name(),
        };
        page.push_str(&format!(
            "| `{}` | {kind} | {} |\n",
            permission.name(),
            roles(permission)
        ));
    }
    page.push_str("\n## REST\n\n| method | path | permission |\n|---|---|---|\n");
    for ((method, path), permission) in declared().0 {
        page.push_str(&format!(
            "| {method} | `{path}` | `{}` |\n",
            permission.name()
        ));
    }
    page.push_str("\n## gRPC\n\n| method | permission | on one model |\n|---|---|---|\n");
    for (method, permission) in METHODS {
        let is_named = *permission == Permission::Call || NAMED.contains(method);
        let named = if is_named { "yes" } else { "" };
        page.push_str(&format!(
            "| `{method}` | `{}` | {named} |\n",
            permission.name()
        ));
    }
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/routes.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/routes.md is out of date: run with UPDATE_DOCS=1"
    );
}

fn roles(permission: Permission) -> String {
    if permission == Permission::Public {
        return "everybody".to_owned();
    }
    let has = |role: &Role| role.permissions().contains(permission);
    let roles: Vec<&str> = Role::ALL
        .iter()
        .filter(|role| has(role))
        .map(|role| role.name())
        .collect();
    roles.join(", ")
}

const ROUTES_PAGE: &str = "\
# Routes and permissions

Every REST route and gRPC method needs a permission. [Security](../guides/security.md) says how callers get one.
This page is generated from the lists that the server itself uses. Beside them, `/docs` and `/openapi.json` describe the REST
interface to everybody.

A permission is for resources of one kind. If the path of a route has `{model}` or `{name}`, the caller needs it only
on the resource of that name. For all other routes, the caller needs it on all resources of the kind. `TraceSetting` and `LogSettings`
need `manage-diagnostics` if the message changes something.

| permission | kind of resource | roles that have it |
|---|---|---|
";
