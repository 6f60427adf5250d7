//! The least that a gRPC server can do for `ModelInfer`: decode the request and answer one of the right size.

use std::convert::Infallible;
use std::future::{Ready, ready};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::post;
use bytes::Bytes;
use tidegate_protocol::inference::{ModelInferRequest, ModelInferResponse};
use tonic::server::{Grpc, UnaryService};
use tonic::{Response, Status};

use crate::listen::listen;

/// Serves until killed.
pub(crate) fn run(output_bytes: usize) -> anyhow::Result<()> {
    let answer = ModelInferResponse {
        model_name: "digits".to_owned(),
        model_version: "1".to_owned(),
        raw_output_contents: vec![Bytes::from(vec![0; output_bytes])],
        ..ModelInferResponse::default()
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async move {
        let infer = move |request: Request<Body>| {
            let echo = Echo(answer.clone());
            async move {
                let mut grpc = Grpc::new(tonic_prost::ProstCodec::default());
                Ok::<_, Infallible>(grpc.unary(echo, request).await)
            }
        };
        let router =
            Router::new().route_service("/inference.GRPCInferenceService/ModelInfer", tower::service_fn(infer));
        axum::serve(listen().await?, router.route("/", post(|| async {}))).await?;
        Ok(())
    })
}

struct Echo(ModelInferResponse);

impl UnaryService<ModelInferRequest> for Echo {
    type Response = ModelInferResponse;
    type Future = Ready<Result<Response<ModelInferResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<ModelInferRequest>) -> Self::Future {
        std::hint::black_box(request.into_inner());
        ready(Ok(Response::new(self.0.clone())))
    }
}
