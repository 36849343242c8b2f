// Package shop has the cases of the shop for a client that shares no code with the server: grpc-go against a running server.
//
// In: the addresses of the server, as variables of the environment. scripts/shop-clients starts the server and runs the package. The names
// of the tests are those of the reference system's cases.
package shop

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authv1 "sightline/gen/auth/v1"
	shopv1 "sightline/gen/shop/v1"
)

// callLimit bounds each call.
const callLimit = time.Minute

// server is the one that is tested.
type server struct {
	// host:port of gRPC.
	grpc string
	// Address of the port for clients.
	url string
	// Token of the operator.
	admin string
	// HTTP address of the SMTP sink.
	mail string

	auth   authv1.AuthenticationServiceClient
	shop   shopv1.ShopServiceClient
	manage shopv1.AdminServiceClient
}

// client is shared by all tests: connections and calls are many, settings are one.
var client = http.Client{Timeout: callLimit}

func need(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run scripts/shop-clients", name)
	}
	return value
}

// open returns the server with a connection of its own.
func open(t *testing.T) *server {
	t.Helper()
	s := &server{
		grpc:  need(t, "SIGHTLINE_GRPC"),
		url:   need(t, "SIGHTLINE_URL"),
		admin: need(t, "SIGHTLINE_ADMIN_TOKEN"),
		mail:  need(t, "SIGHTLINE_MAIL_URL"),
	}
	connection, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	s.auth = authv1.NewAuthenticationServiceClient(connection)
	s.shop = shopv1.NewShopServiceClient(connection)
	s.manage = shopv1.NewAdminServiceClient(connection)
	return s
}

// within returns a context that ends with the limit of a call.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	t.Cleanup(cancel)
	return ctx
}

// as returns the context of a call with a token.
func as(t *testing.T, token string) context.Context {
	return metadata.AppendToOutgoingContext(within(t), "authorization", "Bearer "+token)
}

// random returns a text that no other test has.
func random() string {
	var bytes [8]byte
	// It never fails, as the package says.
	_, _ = rand.Read(bytes[:])
	return hex.EncodeToString(bytes[:])
}

const password = "abc123"

// user is a registered one.
type user struct {
	email         string
	id            string
	token         string
	refresh       string
	tokensExpired time.Time
}

func signedIn(response *authv1.AuthResponse) user {
	return user{
		email:         response.User.Email,
		id:            response.User.Id,
		token:         response.Tokens.AccessToken,
		refresh:       response.Tokens.RefreshToken,
		tokensExpired: response.Tokens.AccessTokenExpiresAt.AsTime(),
	}
}

// signUp registers a user.
func (s *server) signUp(t *testing.T) user {
	t.Helper()
	request := &authv1.SignUpRequest{Email: "u" + random() + "@example.org", Password: password}
	response, err := s.auth.SignUp(within(t), request)
	if err != nil {
		t.Fatalf("SignUp: %v", err)
	}
	return signedIn(response)
}

func (s *server) signIn(t *testing.T, email, password string) (*authv1.AuthResponse, error) {
	t.Helper()
	return s.auth.SignIn(within(t), &authv1.SignInRequest{Email: email, Password: password})
}

// info returns what an error says to programs.
func info(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is {
			return info
		}
	}
	return nil
}

// reason returns the stable code of an error.
func reason(err error) string { return info(err).GetReason() }

// facts returns the values of an error.
func facts(err error) map[string]string { return info(err).GetMetadata() }

// refused fails the test unless the call ended with this code and this reason.
func refused(t *testing.T, err error, code codes.Code, wanted string) {
	t.Helper()
	if status.Code(err) != code || reason(err) != wanted {
		t.Fatalf("%v (%s) instead of %v (%s): %v", status.Code(err), reason(err), code, wanted, err)
	}
}

// succeeds returns the response of a call, which must not fail.
func succeeds[R any](t *testing.T) func(R, error) R {
	return func(response R, err error) R {
		t.Helper()
		if err != nil {
			t.Fatalf("%v (%s)", err, reason(err))
		}
		return response
	}
}

// answer is that of a REST route.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// code returns the stable code of a problem.
func (a answer) code() string {
	var problem struct{ Code string }
	_ = json.Unmarshal(a.body, &problem)
	return problem.Code
}

// rest sends a request to a REST route; the body is JSON unless it is bytes or nothing.
func (s *server) rest(t *testing.T, method, path, token string, body any) answer {
	t.Helper()
	var content io.Reader
	contentType := "application/json"
	switch body := body.(type) {
	case nil:
	case []byte:
		content, contentType = bytes.NewReader(body), "application/octet-stream"
	default:
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	if len(path) > 0 && path[0] == '/' {
		path = s.url + path
	}
	request, err := http.NewRequest(method, path, content)
	if err != nil {
		t.Fatal(err)
	}
	if content != nil {
		request.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: response.StatusCode, header: response.Header, body: read}
}

var mailedToken = regexp.MustCompile(`#token=(slp_[A-Za-z0-9_-]+)`)

// resetToken reads the token out of the mail to an address.
func (s *server) resetToken(t *testing.T, email string) string {
	t.Helper()
	mail := s.rest(t, http.MethodGet, fmt.Sprintf("%s/mails?wait=20s&to=%s", s.mail, email), "", nil)
	if mail.status != http.StatusOK {
		t.Fatalf("no mail came to %s", email)
	}
	found := mailedToken.FindSubmatch(mail.body)
	if found == nil {
		t.Fatalf("the mail has no token: %s", mail.body)
	}
	return string(found[1])
}
