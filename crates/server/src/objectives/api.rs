//! The API of objectives, under `/api/slos`.

mod changes;
mod status;

use std::sync::Arc;

use tidegate_gateway::Permission::{ManageObjectives, ViewOperations};
use utoipa::OpenApi;

use super::Objectives;
use crate::routes::Routes;

#[derive(OpenApi)]
#[openapi(paths(status::slos, changes::set, changes::remove, changes::thaw))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(objectives: Arc<Objectives>) -> Routes<()> {
    Routes::described_by(description())
        .get("/api/slos", ViewOperations, status::slos)
        .put("/api/slos/{name}", ManageObjectives, changes::set)
        .audited("objective.set", "objective")
        .delete("/api/slos/{name}", ManageObjectives, changes::remove)
        .audited("objective.remove", "objective")
        .post("/api/slos/{name}/thaw", ManageObjectives, changes::thaw)
        .audited("rollout.thaw", "objective")
        .with_state(objectives)
}
