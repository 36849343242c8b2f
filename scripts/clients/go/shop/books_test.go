package shop

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	authv1 "sightline/gen/auth/v1"
	shopv1 "sightline/gen/shop/v1"
)

// recording returns a WAV file with a tone of so many seconds. Each is another one.
func recording(seconds int) []byte {
	const rate = 8000
	samples := make([]int16, rate*seconds)
	pitch := 200 + float64(time.Now().UnixNano()%1000)
	for i := range samples {
		samples[i] = int16(8000 * math.Sin(2*math.Pi*pitch*float64(i)/rate))
	}
	var file bytes.Buffer
	size := uint32(2 * len(samples))
	for _, part := range []any{
		[]byte("RIFF"), 36 + size, []byte("WAVEfmt "), uint32(16), uint16(1), uint16(1), uint32(rate), uint32(2 * rate),
		uint16(2), uint16(16), []byte("data"), size, samples,
	} {
		// A buffer takes everything.
		_ = binary.Write(&file, binary.LittleEndian, part)
	}
	return file.Bytes()
}

// createLink creates a book, and returns its id and the address that takes its audio.
func (s *server) createLink(t *testing.T, title string, price int64) *shopv1.CreateUploadUrlResponse {
	t.Helper()
	request := &shopv1.CreateUploadUrlRequest{
		Title: title, Author: "Jane Austen", PriceCents: price, Filename: "book.wav", ContentType: "audio/wav",
	}
	return succeeds[*shopv1.CreateUploadUrlResponse](t)(s.shop.CreateUploadURL(as(t, s.admin), request))
}

// put uploads a whole file to its address.
func (s *server) put(t *testing.T, link string, content []byte) answer {
	t.Helper()
	return s.rest(t, http.MethodPut, link, "", content)
}

// sell creates a book that is ready, and returns it with its bytes.
func (s *server) sell(t *testing.T, price int64) (*shopv1.Audiobook, []byte) {
	t.Helper()
	content := recording(2)
	link := s.createLink(t, "Emma "+random(), price)
	if put := s.put(t, link.UploadUrl, content); put.status != http.StatusOK {
		t.Fatalf("PUT: %d %s", put.status, put.body)
	}
	request := &shopv1.CompleteUploadRequest{AudiobookId: link.AudiobookId}
	book := succeeds[*shopv1.CompleteUploadResponse](t)(s.shop.CompleteUpload(as(t, s.admin), request)).Book
	if book.Status != shopv1.MediaStatus_MEDIA_READY {
		t.Fatalf("the book is %v: %v", book.Status, book)
	}
	return book, content
}

func (s *server) add(t *testing.T, token, book string) *shopv1.ViewCartResponse {
	t.Helper()
	request := &shopv1.AddToCartRequest{AudiobookId: book}
	return succeeds[*shopv1.ViewCartResponse](t)(s.shop.AddToCart(as(t, token), request))
}

func (s *server) checkout(t *testing.T, token string) *shopv1.CheckoutResponse {
	t.Helper()
	return succeeds[*shopv1.CheckoutResponse](t)(s.shop.Checkout(as(t, token), &emptypb.Empty{}))
}

func (s *server) downloadLink(t *testing.T, token, book string) (string, error) {
	t.Helper()
	response, err := s.shop.GetDownloadURL(as(t, token), &shopv1.GetDownloadURLRequest{AudiobookId: book})
	return response.GetDownloadUrl(), err
}

func Test_a_book_from_upload_to_download(t *testing.T) {
	for _, group := range []shopv1.AIProvider{shopv1.AIProvider_AIProvider_LOCAL, shopv1.AIProvider_AIProvider_AWS} {
		t.Run(group.String(), func(t *testing.T) { fromUploadToDownload(t, group) })
	}
}

func fromUploadToDownload(t *testing.T, group shopv1.AIProvider) {
	s := open(t)
	content := recording(3)
	link := s.createLink(t, "Persuasion "+random(), 1299)
	id := link.AudiobookId
	if link.MaxBytes < 1<<30 {
		t.Fatalf("at most %d bytes", link.MaxBytes)
	}
	if put := s.put(t, link.UploadUrl, content); put.status != http.StatusOK {
		t.Fatalf("PUT: %d %s", put.status, put.body)
	}
	complete := func(force shopv1.MediaStatus) (*shopv1.CompleteUploadResponse, error) {
		request := &shopv1.CompleteUploadRequest{AudiobookId: id, AiProvider: group, ForceStatus: force}
		return s.shop.CompleteUpload(as(t, s.admin), request)
	}
	book := succeeds[*shopv1.CompleteUploadResponse](t)(complete(shopv1.MediaStatus_MEDIA_STATUS_UNSPECIFIED)).Book
	if book.Status != shopv1.MediaStatus_MEDIA_READY || book.DurationSeconds != 3 || book.PriceCents != 1299 {
		t.Fatalf("after the upload: %v", book)
	}
	// The audio pipeline is off in this server; with it these become READY.
	for _, force := range []shopv1.MediaStatus{
		shopv1.MediaStatus_MEDIA_PROCESSING_TRANSCRIPT, shopv1.MediaStatus_MEDIA_PROCESSING_SUMMARY,
	} {
		_, err := complete(force)
		refused(t, err, codes.Unimplemented, "audio_off")
	}
	// Again: the same.
	if book := succeeds[*shopv1.CompleteUploadResponse](t)(complete(0)).Book; book.Status != shopv1.MediaStatus_MEDIA_READY {
		t.Fatalf("after a repeat: %v", book)
	}

	ann, ben := s.signUp(t), s.signUp(t)
	list := succeeds[*shopv1.ListAudiobooksResponse](t)(
		s.shop.ListAudiobooks(as(t, ann.token), &shopv1.ListAudiobooksRequest{PageSize: 50, Query: book.Title}))
	if !slices.ContainsFunc(list.Items, func(item *shopv1.Audiobook) bool { return item.Id == id }) {
		t.Fatal("the book is not listed")
	}
	if _, err := s.downloadLink(t, ann.token, id); reason(err) != "not_bought" {
		t.Fatalf("before the checkout: %v", err)
	}
	cart := s.add(t, ann.token, id)
	if len(cart.Items) != 1 || cart.SubtotalCents != 1299 || cart.Items[0].LineSubtotalCents != 1299 || cart.Currency != "EUR" {
		t.Fatalf("the cart: %v", cart)
	}
	order := s.checkout(t, ann.token)
	if order.TotalCents != 1299 || order.OrderId == "" || order.CreatedAt == nil {
		t.Fatalf("the order: %v", order)
	}
	purchases := succeeds[*shopv1.ListPurchasesResponse](t)(s.shop.ListPurchases(as(t, ann.token), &emptypb.Empty{}))
	if len(purchases.Items) != 1 || purchases.Items[0].OrderId != order.OrderId || purchases.Items[0].Book.Id != id {
		t.Fatalf("the purchases: %v", purchases)
	}
	url := succeeds[string](t)(s.downloadLink(t, ann.token, id))
	if file := s.rest(t, http.MethodGet, url, "", nil); file.status != http.StatusOK || !bytes.Equal(file.body, content) {
		t.Fatalf("the download: %d, %d of %d bytes", file.status, len(file.body), len(content))
	}
	_, err := s.downloadLink(t, ben.token, id)
	refused(t, err, codes.PermissionDenied, "not_bought")
}

func Test_a_book_is_uploaded_in_a_stream(t *testing.T) {
	s := open(t)
	content := recording(40)
	stream, err := s.shop.UploadAudiobook(as(t, s.admin))
	if err != nil {
		t.Fatal(err)
	}
	header := &shopv1.UploadHeader{
		Title: "Sanditon " + random(), Author: "Jane Austen", PriceCents: 500, Filename: "sanditon.wav", ContentType: "audio/wav",
	}
	send := func(chunk *shopv1.UploadChunk) {
		if err := stream.Send(chunk); err != nil {
			t.Fatal(err)
		}
	}
	send(&shopv1.UploadChunk{Payload: &shopv1.UploadChunk_Header{Header: header}})
	for piece := range slices.Chunk(content, 100_000) {
		send(&shopv1.UploadChunk{Payload: &shopv1.UploadChunk_Data{Data: piece}})
	}
	book := succeeds[*shopv1.UploadAudiobookResponse](t)(stream.CloseAndRecv()).Book
	if book.Status != shopv1.MediaStatus_MEDIA_READY || book.DurationSeconds != 40 {
		t.Fatalf("after the upload: %v", book)
	}
	url := succeeds[string](t)(s.downloadLink(t, s.admin, book.Id))
	if file := s.rest(t, http.MethodGet, url, "", nil); !bytes.Equal(file.body, content) {
		t.Fatalf("the download has %d of %d bytes", len(file.body), len(content))
	}
}

func Test_hidden_books_and_drafts_are_not_shown(t *testing.T) {
	s := open(t)
	ann, buyer := s.signUp(t), s.signUp(t)
	hidden, content := s.sell(t, 100)
	draft := s.createLink(t, "Draft "+random(), 100).AudiobookId
	s.add(t, buyer.token, hidden.Id)
	s.checkout(t, buyer.token)
	request := &shopv1.HideAudiobookRequest{AudiobookId: hidden.Id}
	succeeds[*shopv1.HideAudiobookResponse](t)(s.manage.HideAudiobook(as(t, s.admin), request))
	for _, id := range []string{hidden.Id, draft} {
		_, err := s.shop.GetAudiobook(as(t, ann.token), &shopv1.GetAudiobookRequest{Id: id})
		refused(t, err, codes.NotFound, "not_found")
		_, err = s.shop.AddToCart(as(t, ann.token), &shopv1.AddToCartRequest{AudiobookId: id})
		refused(t, err, codes.NotFound, "not_found")
		if rest := s.rest(t, http.MethodGet, "/v1/books/"+id, ann.token, nil); rest.status != http.StatusNotFound {
			t.Fatalf("REST shows it: %d %s", rest.status, rest.body)
		}
	}
	// Who bought it keeps it.
	url := succeeds[string](t)(s.downloadLink(t, buyer.token, hidden.Id))
	if file := s.rest(t, http.MethodGet, url, "", nil); !bytes.Equal(file.body, content) {
		t.Fatalf("the buyer gets %d bytes: %d", len(file.body), file.status)
	}
}

func Test_an_admin_is_a_user_with_the_role(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	request := &shopv1.CreateUploadUrlRequest{Title: "Emma", Author: "Jane Austen", PriceCents: 100}
	_, err := s.shop.CreateUploadURL(as(t, ann.token), request)
	refused(t, err, codes.PermissionDenied, "forbidden")
	changed := s.rest(t, http.MethodPatch, "/v1/users/"+ann.id, s.admin, map[string]string{"role": "admin"})
	if changed.status != http.StatusOK {
		t.Fatalf("the role was not changed: %d %s", changed.status, changed.body)
	}
	response := succeeds[*authv1.AuthResponse](t)(s.signIn(t, ann.email, password))
	if response.User.Role != authv1.Role_ROLE_ADMIN {
		t.Fatalf("the role is %v", response.User.Role)
	}
	// Another process of the service sees the new role within a second.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		_, err := s.shop.CreateUploadURL(as(t, response.Tokens.AccessToken), request)
		if err == nil {
			return
		}
		if status.Code(err) != codes.PermissionDenied || time.Now().After(deadline) {
			t.Fatalf("a new admin is refused: %v", err)
		}
	}
}

func Test_the_same_checkout_is_one_order(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	book, _ := s.sell(t, 700)
	s.add(t, ann.token, book.Id)
	key := func() *shopv1.CheckoutResponse {
		ctx := metadata.AppendToOutgoingContext(as(t, ann.token), "idempotency-key", "order "+ann.id)
		return succeeds[*shopv1.CheckoutResponse](t)(s.shop.Checkout(ctx, &emptypb.Empty{}))
	}
	first, again := key(), key()
	if first.OrderId != again.OrderId || first.TotalCents != 700 {
		t.Fatalf("%v and %v", first, again)
	}
	orders := succeeds[*shopv1.ListOrdersResponse](t)(s.shop.ListOrders(as(t, ann.token), &shopv1.ListOrdersRequest{}))
	if len(orders.Items) != 1 || orders.Items[0].Status != shopv1.OrderStatus_ORDER_STATUS_PAID {
		t.Fatalf("the orders: %v", orders)
	}
	_, err := s.shop.AddToCart(as(t, ann.token), &shopv1.AddToCartRequest{AudiobookId: book.Id})
	refused(t, err, codes.AlreadyExists, "already_owned")
}

func Test_a_changed_price_is_told_with_the_new_total(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	book, _ := s.sell(t, 700)
	s.add(t, ann.token, book.Id)
	price := int64(900)
	request := &shopv1.UpdateAudiobookRequest{AudiobookId: book.Id, PriceCents: &price}
	succeeds[*shopv1.UpdateAudiobookResponse](t)(s.manage.UpdateAudiobook(as(t, s.admin), request))
	_, err := s.shop.Checkout(as(t, ann.token), &emptypb.Empty{})
	refused(t, err, codes.FailedPrecondition, "price_changed")
	if total := facts(err)["total_minor"]; total != "900" {
		t.Fatalf("the new total is %q", total)
	}
	// The new total was told, so the next checkout agrees to it.
	if order := s.checkout(t, ann.token); order.TotalCents != 900 {
		t.Fatalf("the order: %v", order)
	}
}

func Test_a_refund_takes_the_book_back_within_a_second(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	book, _ := s.sell(t, 700)
	s.add(t, ann.token, book.Id)
	order := s.checkout(t, ann.token)
	url := succeeds[string](t)(s.downloadLink(t, ann.token, book.Id))
	for range 2 {
		request := &shopv1.RefundRequest{OrderId: order.OrderId, Reason: "a test"}
		response := succeeds[*shopv1.RefundResponse](t)(s.manage.Refund(as(t, s.admin), request))
		if status := response.Order.Status; status != shopv1.OrderStatus_ORDER_STATUS_REFUNDED {
			t.Fatalf("the order is %v", status)
		}
	}
	time.Sleep(time.Second)
	if file := s.rest(t, http.MethodGet, url, "", nil); file.status != http.StatusNotFound || file.code() != "link_invalid" {
		t.Fatalf("the link still gives %d %s", file.status, file.code())
	}
	_, err := s.downloadLink(t, ann.token, book.Id)
	refused(t, err, codes.PermissionDenied, "not_bought")
}
