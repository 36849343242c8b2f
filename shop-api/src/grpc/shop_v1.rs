//! `shop.v1.ShopService`: the shop for users, and uploads for admins.
//!
//! In: messages of the protos, and the [`Viewer`](crate::Viewer) that the access layer has put into the request. Out: the answers
//! of [`App`], field by field. Guarantee: nothing is decided here, so that REST answers the same.

mod buying;
pub(crate) mod catalogue;
pub(crate) mod convert;
mod listening;
pub(crate) mod request;
pub(crate) mod uploads;

use tonic::{Request, Response, Status, Streaming};

use crate::app::App;
use crate::proto::shop_v1::shop_service_server::ShopService;
use crate::proto::shop_v1::{
    AddToCartRequest, CheckoutResponse, CompleteUploadRequest, CompleteUploadResponse, CreateUploadUrlRequest,
    CreateUploadUrlResponse, GetAudiobookRequest, GetAudiobookResponse, GetAudiobookStatusRequest,
    GetAudiobookStatusResponse, GetDescriptionRequest, GetDescriptionResponse, GetDownloadUrlRequest,
    GetDownloadUrlResponse, GetOrderRequest, GetOrderResponse, GetPositionRequest, GetPositionResponse,
    GetTranscriptRequest, GetTranscriptResponse, GetUploadUrlRequest, ListAudiobooksRequest, ListAudiobooksResponse,
    ListCategoriesRequest, ListCategoriesResponse, ListOrdersRequest, ListOrdersResponse, ListPurchasesResponse,
    PutPositionRequest, PutPositionResponse, RemoveFromCartRequest, UploadAudiobookResponse, UploadChunk,
    ViewCartResponse,
};
use request::answer;

/// The service, over the application layer.
pub struct ShopGrpc(pub App);

/// What a method returns.
pub(crate) type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ShopService for ShopGrpc {
    async fn upload_audiobook(&self, request: Request<Streaming<UploadChunk>>) -> Answer<UploadAudiobookResponse> {
        answer(uploads::upload(&self.0, request).await)
    }

    async fn create_upload_url(&self, request: Request<CreateUploadUrlRequest>) -> Answer<CreateUploadUrlResponse> {
        answer(uploads::create_link(&self.0, request).await)
    }

    async fn get_upload_url(&self, request: Request<GetUploadUrlRequest>) -> Answer<CreateUploadUrlResponse> {
        answer(uploads::further_link(&self.0, request).await)
    }

    async fn complete_upload(&self, request: Request<CompleteUploadRequest>) -> Answer<CompleteUploadResponse> {
        answer(uploads::complete(&self.0, request).await)
    }

    async fn list_audiobooks(&self, request: Request<ListAudiobooksRequest>) -> Answer<ListAudiobooksResponse> {
        answer(catalogue::list(&self.0, request).await)
    }

    async fn get_audiobook(&self, request: Request<GetAudiobookRequest>) -> Answer<GetAudiobookResponse> {
        answer(catalogue::one(&self.0, request).await)
    }

    async fn get_description(&self, request: Request<GetDescriptionRequest>) -> Answer<GetDescriptionResponse> {
        answer(catalogue::description(&self.0, request).await)
    }

    async fn get_audiobook_status(
        &self,
        request: Request<GetAudiobookStatusRequest>,
    ) -> Answer<GetAudiobookStatusResponse> {
        answer(catalogue::status(&self.0, request).await)
    }

    async fn list_categories(&self, request: Request<ListCategoriesRequest>) -> Answer<ListCategoriesResponse> {
        answer(catalogue::categories(&self.0, request).await)
    }

    async fn view_cart(&self, request: Request<()>) -> Answer<ViewCartResponse> {
        answer(buying::cart(&self.0, request).await)
    }

    async fn add_to_cart(&self, request: Request<AddToCartRequest>) -> Answer<ViewCartResponse> {
        answer(buying::add(&self.0, request).await)
    }

    async fn remove_from_cart(&self, request: Request<RemoveFromCartRequest>) -> Answer<ViewCartResponse> {
        answer(buying::remove(&self.0, request).await)
    }

    async fn checkout(&self, request: Request<()>) -> Answer<CheckoutResponse> {
        answer(buying::checkout(&self.0, request).await)
    }

    async fn list_purchases(&self, request: Request<()>) -> Answer<ListPurchasesResponse> {
        answer(buying::purchases(&self.0, request).await)
    }

    async fn list_orders(&self, request: Request<ListOrdersRequest>) -> Answer<ListOrdersResponse> {
        answer(buying::orders(&self.0, request).await)
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Answer<GetOrderResponse> {
        answer(buying::order(&self.0, request).await)
    }

    async fn get_download_url(&self, request: Request<GetDownloadUrlRequest>) -> Answer<GetDownloadUrlResponse> {
        answer(listening::download(&self.0, request).await)
    }

    async fn get_transcript(&self, request: Request<GetTranscriptRequest>) -> Answer<GetTranscriptResponse> {
        answer(listening::transcript(&self.0, request).await)
    }

    async fn get_position(&self, request: Request<GetPositionRequest>) -> Answer<GetPositionResponse> {
        answer(listening::position(&self.0, request).await)
    }

    async fn put_position(&self, request: Request<PutPositionRequest>) -> Answer<PutPositionResponse> {
        answer(listening::put_position(&self.0, request).await)
    }
}
