//! `shop.v1.AdminService`: books, categories, refunds, the orders that are kept of deleted users, and the audio pipeline with its providers.
//! Without the pipeline its calls answer UNIMPLEMENTED.

mod books;
mod orders;
mod pipeline;

use futures::stream::BoxStream;
use tonic::{Request, Status};

use crate::app::App;
use crate::grpc::shop_v1::Answer;
use crate::grpc::shop_v1::request::answer;
use crate::proto::shop_v1::admin_service_server::AdminService;
use crate::proto::shop_v1::{
    CreateAudiobookRequest, CreateAudiobookResponse, DecideCategoryRequest, DecideCategoryResponse,
    DeleteAudiobookRequest, DeleteAudiobookResponse, GetLedgerRequest, GetLedgerResponse, GetPipelineRequest,
    GetPipelineResponse, HideAudiobookRequest, HideAudiobookResponse, ListCategoriesRequest, ListCategoriesResponse,
    ListKeptOrdersRequest, ListKeptOrdersResponse, ListProvidersRequest, ListProvidersResponse,
    PublishAudiobookRequest, PublishAudiobookResponse, PutCategoryRequest, PutCategoryResponse, RefundRequest,
    RefundResponse, SetProviderOrderRequest, SetProviderOrderResponse, SetProviderStateRequest,
    SetProviderStateResponse, UpdateAudiobookRequest, UpdateAudiobookResponse, WatchPipelineRequest,
    WatchPipelineResponse,
};

/// The service, over the application layer.
pub struct AdminGrpc(pub App);

#[tonic::async_trait]
impl AdminService for AdminGrpc {
    type WatchPipelineStream = BoxStream<'static, Result<WatchPipelineResponse, Status>>;

    async fn create_audiobook(&self, request: Request<CreateAudiobookRequest>) -> Answer<CreateAudiobookResponse> {
        answer(books::create(&self.0, request).await)
    }

    async fn update_audiobook(&self, request: Request<UpdateAudiobookRequest>) -> Answer<UpdateAudiobookResponse> {
        answer(books::update(&self.0, request).await)
    }

    async fn publish_audiobook(&self, request: Request<PublishAudiobookRequest>) -> Answer<PublishAudiobookResponse> {
        answer(books::publish(&self.0, request).await)
    }

    async fn hide_audiobook(&self, request: Request<HideAudiobookRequest>) -> Answer<HideAudiobookResponse> {
        answer(books::hide(&self.0, request).await)
    }

    async fn delete_audiobook(&self, request: Request<DeleteAudiobookRequest>) -> Answer<DeleteAudiobookResponse> {
        answer(books::delete(&self.0, request).await)
    }

    async fn list_categories(&self, request: Request<ListCategoriesRequest>) -> Answer<ListCategoriesResponse> {
        answer(crate::grpc::shop_v1::catalogue::categories(&self.0, request).await)
    }

    async fn put_category(&self, request: Request<PutCategoryRequest>) -> Answer<PutCategoryResponse> {
        answer(books::put_category(&self.0, request).await)
    }

    async fn decide_category(&self, request: Request<DecideCategoryRequest>) -> Answer<DecideCategoryResponse> {
        answer(books::decide_category(&self.0, request).await)
    }

    async fn refund(&self, request: Request<RefundRequest>) -> Answer<RefundResponse> {
        answer(orders::refund(&self.0, request).await)
    }

    async fn list_kept_orders(&self, request: Request<ListKeptOrdersRequest>) -> Answer<ListKeptOrdersResponse> {
        answer(orders::kept(&self.0, request).await)
    }

    async fn get_pipeline(&self, request: Request<GetPipelineRequest>) -> Answer<GetPipelineResponse> {
        answer(pipeline::one(&self.0, request).await)
    }

    async fn watch_pipeline(&self, request: Request<WatchPipelineRequest>) -> Answer<Self::WatchPipelineStream> {
        answer(pipeline::watch(&self.0, request).await)
    }

    async fn list_providers(&self, request: Request<ListProvidersRequest>) -> Answer<ListProvidersResponse> {
        answer(pipeline::providers(&self.0, request).await)
    }

    async fn set_provider_order(&self, request: Request<SetProviderOrderRequest>) -> Answer<SetProviderOrderResponse> {
        answer(pipeline::order(&self.0, request).await)
    }

    async fn set_provider_state(&self, request: Request<SetProviderStateRequest>) -> Answer<SetProviderStateResponse> {
        answer(pipeline::change(&self.0, request).await)
    }

    async fn get_ledger(&self, request: Request<GetLedgerRequest>) -> Answer<GetLedgerResponse> {
        answer(pipeline::ledger(&self.0, request).await)
    }
}
