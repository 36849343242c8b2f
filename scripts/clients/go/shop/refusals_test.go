package shop

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	shopv1 "sightline/gen/shop/v1"
)

type object = map[string]any

// Both protocols refuse what cannot be a book, with the same code.
func Test_a_book_that_cannot_be_is_refused_in_both_protocols(t *testing.T) {
	s := open(t)
	for name, book := range map[string]struct {
		title, author, currency string
		price                   int64
	}{
		"no title":              {"", "Jane Austen", "EUR", 100},
		"a title of two lines":  {"Emma\nEmma", "Jane Austen", "EUR", 100},
		"a long title":          {strings.Repeat("x", 201), "Jane Austen", "EUR", 100},
		"a control character":   {"Emma", "\x1b[2J", "EUR", 100},
		"a negative price":      {"Emma", "Jane Austen", "EUR", -1},
		"an absurd price":       {"Emma", "Jane Austen", "EUR", 10_000_001},
		"the largest number":    {"Emma", "Jane Austen", "EUR", 1<<63 - 1},
		"an unknown currency":   {"Emma", "Jane Austen", "EURO", 100},
		"a currency in l. case": {"Emma", "Jane Austen", "eur", 100},
		"gold instead of money": {"Emma", "Jane Austen", "XAU", 100},
	} {
		t.Run(name, func(t *testing.T) {
			request := &shopv1.CreateUploadUrlRequest{
				Title: book.title, Author: book.author, PriceCents: book.price, Currency: book.currency,
			}
			_, err := s.shop.CreateUploadURL(as(t, s.admin), request)
			refused(t, err, codes.InvalidArgument, "invalid")
			rest := s.rest(t, http.MethodPost, "/v1/books", s.admin, object{
				"title": book.title, "author": book.author, "price": object{"minor": book.price, "currency": book.currency},
			})
			if rest.status != http.StatusUnprocessableEntity || rest.code() != "invalid" {
				t.Fatalf("REST: %d %s", rest.status, rest.body)
			}
		})
	}
}

func Test_a_path_is_no_file_name_in_both_protocols(t *testing.T) {
	s := open(t)
	for _, name := range []string{"../emma.wav", "/etc/passwd", `C:\emma.wav`, "..", "a\x00b"} {
		request := &shopv1.CreateUploadUrlRequest{Title: "Emma", Author: "Jane Austen", PriceCents: 100, Filename: name}
		_, err := s.shop.CreateUploadURL(as(t, s.admin), request)
		refused(t, err, codes.InvalidArgument, "invalid")
		encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
		create, err := http.NewRequest(http.MethodPost, s.url+"/v1/uploads", nil)
		if err != nil {
			t.Fatal(err)
		}
		create.Header.Set("Authorization", "Bearer "+s.admin)
		create.Header.Set("Tus-Resumable", "1.0.0")
		create.Header.Set("Upload-Length", "1000")
		create.Header.Set("Upload-Metadata", "title "+encoded("Emma")+",filename "+encoded(name))
		response, err := client.Do(create)
		if err != nil {
			t.Fatal(err)
		}
		var problem struct{ Code string }
		err = json.NewDecoder(response.Body).Decode(&problem)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusUnprocessableEntity || problem.Code != "invalid" {
			t.Fatalf("%q by tus: %d %s", name, response.StatusCode, problem.Code)
		}
	}
}

// box is one of an MP4 file.
func box(kind string, content ...byte) []byte {
	size := byte(8 + len(content))
	return slices.Concat([]byte{0, 0, 0, size}, []byte(kind), content)
}

// A file that is no recording is refused by name, the book stays a draft, and the next file makes it ready.
func Test_a_file_that_is_no_recording_is_refused_by_name(t *testing.T) {
	s := open(t)
	whole := recording(2)
	encrypted := slices.Concat(box("ftyp", []byte("aax \x00\x00\x00\x00")...), bytes.Repeat([]byte{0}, 4096))
	for name, content := range map[string][]byte{
		"not_audio": bytes.Repeat([]byte("It is a truth universally acknowledged. "), 200),
		"truncated": whole[:len(whole)/2],
		"encrypted": encrypted,
	} {
		t.Run(name, func(t *testing.T) {
			link := s.createLink(t, "Broken "+random(), 100)
			if put := s.put(t, link.UploadUrl, content); put.status != http.StatusOK {
				t.Fatalf("PUT: %d %s", put.status, put.body)
			}
			request := &shopv1.CompleteUploadRequest{AudiobookId: link.AudiobookId}
			_, err := s.shop.CompleteUpload(as(t, s.admin), request)
			refused(t, err, codes.InvalidArgument, name)
			s.mend(t, link.AudiobookId, whole)

			link = s.createLink(t, "Broken "+random(), 100)
			s.put(t, link.UploadUrl, content)
			rest := s.rest(t, http.MethodPost, "/v1/books/"+link.AudiobookId+"/pipeline", s.admin, nil)
			if rest.status != http.StatusUnprocessableEntity || rest.code() != name {
				t.Fatalf("REST: %d %s", rest.status, rest.body)
			}
		})
	}
}

// mend uploads a good file to a book whose file was refused.
func (s *server) mend(t *testing.T, book string, content []byte) {
	t.Helper()
	link := succeeds[*shopv1.CreateUploadUrlResponse](t)(
		s.shop.GetUploadURL(as(t, s.admin), &shopv1.GetUploadURLRequest{AudiobookId: book}))
	if put := s.put(t, link.UploadUrl, content); put.status != http.StatusOK {
		t.Fatalf("PUT: %d %s", put.status, put.body)
	}
	request := &shopv1.CompleteUploadRequest{AudiobookId: book}
	mended := succeeds[*shopv1.CompleteUploadResponse](t)(s.shop.CompleteUpload(as(t, s.admin), request)).Book
	if mended.Status != shopv1.MediaStatus_MEDIA_READY || mended.Fault != "" {
		t.Fatalf("the book is %v with the fault %q", mended.Status, mended.Fault)
	}
}

func Test_an_upload_of_nothing_is_refused(t *testing.T) {
	s := open(t)
	link := s.createLink(t, "Empty "+random(), 100)
	if put := s.put(t, link.UploadUrl, []byte{}); put.status != http.StatusUnprocessableEntity || put.code() != "empty_upload" {
		t.Fatalf("PUT: %d %s", put.status, put.body)
	}
	stream, err := s.shop.UploadAudiobook(as(t, s.admin))
	if err != nil {
		t.Fatal(err)
	}
	header := &shopv1.UploadHeader{Title: "Empty " + random(), Author: "Jane Austen", PriceCents: 100}
	if err := stream.Send(&shopv1.UploadChunk{Payload: &shopv1.UploadChunk_Header{Header: header}}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.CloseAndRecv()
	refused(t, err, codes.InvalidArgument, "empty_upload")
	s.mend(t, link.AudiobookId, recording(2))
}

func Test_a_cart_with_a_deleted_book_is_refused_and_kept(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	gone, _ := s.sell(t, 100)
	stays, _ := s.sell(t, 200)
	s.add(t, ann.token, gone.Id)
	s.add(t, ann.token, stays.Id)
	for range 2 {
		request := &shopv1.DeleteAudiobookRequest{AudiobookId: gone.Id}
		succeeds[*shopv1.DeleteAudiobookResponse](t)(s.manage.DeleteAudiobook(as(t, s.admin), request))
	}
	_, err := s.shop.Checkout(as(t, ann.token), &emptypb.Empty{})
	refused(t, err, codes.FailedPrecondition, "book_gone")
	if rest := s.rest(t, http.MethodPost, "/v1/checkout", ann.token, nil); rest.status != http.StatusConflict || rest.code() != "book_gone" {
		t.Fatalf("REST: %d %s", rest.status, rest.body)
	}
	request := &shopv1.RemoveFromCartRequest{AudiobookId: gone.Id}
	cart := succeeds[*shopv1.ViewCartResponse](t)(s.shop.RemoveFromCart(as(t, ann.token), request))
	if len(cart.Items) != 1 || cart.SubtotalCents != 200 {
		t.Fatalf("the cart: %v", cart)
	}
	if order := s.checkout(t, ann.token); order.TotalCents != 200 {
		t.Fatalf("the order: %v", order)
	}
}

func Test_a_cursor_of_another_list_is_refused_in_both_protocols(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	for range 2 {
		s.sell(t, 100)
	}
	page := succeeds[*shopv1.ListAudiobooksResponse](t)(
		s.shop.ListAudiobooks(as(t, ann.token), &shopv1.ListAudiobooksRequest{PageSize: 1}))
	if len(page.Items) != 1 || page.NextPageToken == "" {
		t.Fatalf("the first page: %v", page)
	}
	for _, token := range []string{page.NextPageToken, "junk", strings.Repeat("A", 300)} {
		_, err := s.shop.ListOrders(as(t, ann.token), &shopv1.ListOrdersRequest{PageToken: token})
		refused(t, err, codes.InvalidArgument, "invalid")
		rest := s.rest(t, http.MethodGet, "/v1/orders?cursor="+token, ann.token, nil)
		if rest.status != http.StatusUnprocessableEntity || rest.code() != "invalid" {
			t.Fatalf("REST: %d %s", rest.status, rest.body)
		}
	}
	// The cursor of one user shows another nothing but the list that it may see.
	ben := s.signUp(t)
	next := &shopv1.ListAudiobooksRequest{PageSize: 1, PageToken: page.NextPageToken}
	if items := succeeds[*shopv1.ListAudiobooksResponse](t)(s.shop.ListAudiobooks(as(t, ben.token), next)).Items; len(items) != 1 {
		t.Fatalf("the second page has %d books", len(items))
	}
}

func Test_an_order_of_another_user_is_not_found(t *testing.T) {
	s := open(t)
	ann, ben := s.signUp(t), s.signUp(t)
	book, _ := s.sell(t, 100)
	s.add(t, ann.token, book.Id)
	order := s.checkout(t, ann.token)
	_, err := s.shop.GetOrder(as(t, ben.token), &shopv1.GetOrderRequest{OrderId: order.OrderId})
	refused(t, err, codes.NotFound, "not_found")
	if rest := s.rest(t, http.MethodGet, "/v1/orders/"+order.OrderId, ben.token, nil); rest.status != http.StatusNotFound {
		t.Fatalf("REST: %d %s", rest.status, rest.body)
	}
}
