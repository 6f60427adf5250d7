//! The least that a gRPC server can do for `ModelInfer`: decode the request and answer one of the
//! right size.

use std::convert::Infallible;
use std::future::{Ready, ready};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::MethodRouter;
use bytes::Bytes;
use tidegate_protocol::inference::model_metadata_response::TensorMetadata;
use tidegate_protocol::inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
};
use tonic::server::{Grpc, UnaryService};
use tonic::{Response, Status};

use crate::listen::listen;

/// Serves until killed. Clients that ask for metadata are told of one FP32 input with rows of
/// `columns` numbers.
pub(crate) fn run(output_bytes: usize, columns: i64) -> anyhow::Result<()> {
    let answer = ModelInferResponse {
        model_name: "echo".to_owned(),
        model_version: "1".to_owned(),
        raw_output_contents: vec![Bytes::from(vec![0; output_bytes])],
        ..ModelInferResponse::default()
    };
    let input = TensorMetadata {
        name: "input".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![-1, columns],
    };
    let metadata = ModelMetadataResponse {
        name: "echo".to_owned(),
        inputs: vec![input],
        ..ModelMetadataResponse::default()
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async move {
            let router = Router::new()
                .route(
                    "/inference.GRPCInferenceService/ModelInfer",
                    method::<ModelInferRequest, _>(answer),
                )
                .route(
                    "/inference.GRPCInferenceService/ModelMetadata",
                    method::<ModelMetadataRequest, _>(metadata),
                );
            axum::serve(listen().await?, router).await?;
            Ok(())
        })
}

/// A method that decodes requests of one kind and always answers the same.
fn method<Q, A>(answer: A) -> MethodRouter
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Clone + Sync + 'static,
{
    axum::routing::post(move |request: Request<Body>| {
        let fixed = Fixed(answer.clone());
        async move {
            let mut grpc = Grpc::new(tonic_prost::ProstCodec::<A, Q>::default());
            Ok::<_, Infallible>(grpc.unary(fixed, request).await)
        }
    })
}

struct Fixed<A>(A);

impl<Q, A: Clone> UnaryService<Q> for Fixed<A> {
    type Response = A;
    type Future = Ready<Result<Response<A>, Status>>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        drop(std::hint::black_box(request.into_inner()));
        ready(Ok(Response::new(self.0.clone())))
    }
}
