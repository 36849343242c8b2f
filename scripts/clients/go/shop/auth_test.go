package shop

import (
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authv1 "sightline/gen/auth/v1"
)

func Test_sign_up_then_sign_in(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	response := succeeds[*authv1.AuthResponse](t)(s.signIn(t, ann.email, password))
	if response.User.Email != ann.email || response.User.Id != ann.id {
		t.Fatalf("signed in as %s %s instead of %s %s", response.User.Id, response.User.Email, ann.id, ann.email)
	}
	if response.User.Role != authv1.Role_ROLE_USER || response.User.Provider != authv1.AuthProvider_AUTH_PROVIDER_CUSTOM {
		t.Fatalf("role %v, provider %v", response.User.Role, response.User.Provider)
	}
	tokens := response.Tokens
	if tokens.AccessToken == "" || tokens.RefreshToken == "" || tokens.TokenType != "Bearer" {
		t.Fatal("a token is missing")
	}
	now := time.Now()
	if !tokens.AccessTokenExpiresAt.AsTime().After(now) || !tokens.RefreshTokenExpiresAt.AsTime().After(now) {
		t.Fatal("a token has expired")
	}
	if response.User.CreatedAt == nil || response.User.UpdatedAt == nil {
		t.Fatal("the user has no times")
	}
}

func Test_an_address_is_registered_once(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	for _, email := range []string{ann.email, strings.ToUpper(ann.email)} {
		_, err := s.auth.SignUp(within(t), &authv1.SignUpRequest{Email: email, Password: "another1"})
		refused(t, err, codes.AlreadyExists, "email_taken")
	}
	succeeds[*authv1.AuthResponse](t)(s.signIn(t, ann.email, password))
	_, err := s.signIn(t, ann.email, "another1")
	refused(t, err, codes.Unauthenticated, "wrong_password")
}

func Test_a_wrong_password_signs_nobody_in(t *testing.T) {
	s := open(t)
	var known, strange []time.Duration
	for range 7 {
		// Attempts on one account are limited, so each is on another one.
		ann := s.signUp(t)
		for _, attempt := range []struct {
			email string
			times *[]time.Duration
		}{{ann.email, &known}, {"x" + ann.email, &strange}} {
			began := time.Now()
			_, err := s.signIn(t, attempt.email, "wrong1")
			*attempt.times = append(*attempt.times, time.Since(began))
			refused(t, err, codes.Unauthenticated, "wrong_password")
		}
	}
	slices.Sort(known)
	slices.Sort(strange)
	// The median: the machine has other work too. A stranger without a hash would be a hundred times faster.
	if ratio := known[3].Seconds() / strange[3].Seconds(); ratio < 0.33 || ratio > 3 {
		t.Fatalf("a wrong password takes %v, a stranger %v", known[3], strange[3])
	}
}

func Test_a_spent_refresh_token_is_refused(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	refresh := func(token string) (*authv1.AuthResponse, error) {
		return s.auth.RefreshToken(within(t), &authv1.RefreshTokenRequest{RefreshToken: token})
	}
	next := succeeds[*authv1.AuthResponse](t)(refresh(ann.refresh))
	if next.Tokens.RefreshToken == ann.refresh || next.User.Id != ann.id {
		t.Fatal("the token was not replaced")
	}
	_, err := refresh(ann.refresh)
	refused(t, err, codes.Unauthenticated, "invalid_token")
	succeeds[*authv1.AuthResponse](t)(refresh(next.Tokens.RefreshToken))
	_, err = refresh("junk")
	refused(t, err, codes.Unauthenticated, "invalid_token")
}

// withForeignKey returns an access token with the same header and claims, signed by another key.
func withForeignKey(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("the access token is no JWT")
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	message := parts[0] + "." + parts[1]
	return message + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(message)))
}

func Test_validation_tells_good_from_bad(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	validate := func(token string) *authv1.ValidateTokenResponse {
		request := &authv1.ValidateTokenRequest{AccessToken: token}
		return succeeds[*authv1.ValidateTokenResponse](t)(s.auth.ValidateToken(as(t, ann.token), request))
	}
	good := validate(ann.token)
	if !good.Valid || good.User.GetId() != ann.id || !good.ExpiresAt.AsTime().After(time.Now()) {
		t.Fatalf("a good token: %v", good)
	}
	revoked := succeeds[*authv1.AuthResponse](t)(s.signIn(t, ann.email, password)).Tokens
	request := &authv1.RevokeTokenRequest{RefreshToken: revoked.RefreshToken}
	succeeds[*authv1.RevokeTokenResponse](t)(s.auth.RevokeToken(as(t, ann.token), request))
	bad := map[string]string{
		"empty":       "",
		"junk":        "junk",
		"revoked":     revoked.AccessToken,
		"foreign key": withForeignKey(t, ann.token),
		"refresh":     ann.refresh,
		"altered":     ann.token + "A",
	}
	if expired := os.Getenv("SIGHTLINE_EXPIRED_TOKEN"); expired != "" {
		bad["expired"] = expired
	} else {
		t.Log("skipped: an expired token: SIGHTLINE_EXPIRED_TOKEN is not set")
	}
	for name, token := range bad {
		if answer := validate(token); answer.Valid || answer.User != nil || answer.ExpiresAt != nil {
			t.Errorf("%s: %v", name, answer)
		}
	}
	_, err := s.auth.ValidateToken(within(t), &authv1.ValidateTokenRequest{AccessToken: ann.token})
	refused(t, err, codes.Unauthenticated, "unauthorized")
}

func Test_a_reset_token_works_once(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	reset := func(token, password string) error {
		_, err := s.auth.ResetPassword(within(t), &authv1.ResetPasswordRequest{ResetToken: token, NewPassword: password})
		return err
	}
	request := func(email string) {
		response := succeeds[*authv1.RequestPasswordResetResponse](t)(
			s.auth.RequestPasswordReset(within(t), &authv1.RequestPasswordResetRequest{Email: email}))
		if !response.Ok {
			t.Fatal("not ok")
		}
	}
	request(ann.email)
	request("nobody-" + ann.email)
	token := s.resetToken(t, ann.email)
	// The constant of the reference system.
	refused(t, reset("abcABC", "newpw1"), codes.PermissionDenied, "invalid_reset_token")
	refused(t, reset(token+"A", "newpw1"), codes.PermissionDenied, "invalid_reset_token")
	refused(t, reset(token, "short"), codes.InvalidArgument, "invalid")
	if err := reset(token, "newpw1"); err != nil {
		t.Fatalf("the mailed token: %v", err)
	}
	refused(t, reset(token, "newpw2"), codes.PermissionDenied, "invalid_reset_token")

	_, err := s.auth.RefreshToken(within(t), &authv1.RefreshTokenRequest{RefreshToken: ann.refresh})
	refused(t, err, codes.Unauthenticated, "invalid_token")
	_, err = s.signIn(t, ann.email, password)
	refused(t, err, codes.Unauthenticated, "wrong_password")
	again := succeeds[*authv1.AuthResponse](t)(s.signIn(t, ann.email, "newpw1"))
	if !again.User.EmailVerified {
		t.Error("a mail has shown that the address is the user's, but it is not verified")
	}
}

func Test_revoking_twice_is_the_same(t *testing.T) {
	s := open(t)
	ann := s.signUp(t)
	for range 2 {
		response := succeeds[*authv1.RevokeTokenResponse](t)(
			s.auth.RevokeToken(as(t, ann.token), &authv1.RevokeTokenRequest{RefreshToken: ann.refresh}))
		if !response.Ok {
			t.Fatal("not ok")
		}
	}
	_, err := s.auth.RefreshToken(within(t), &authv1.RefreshTokenRequest{RefreshToken: ann.refresh})
	refused(t, err, codes.Unauthenticated, "invalid_token")
}

func Test_an_id_token_that_nobody_signed_is_refused(t *testing.T) {
	s := open(t)
	_, err := s.auth.GoogleSignIn(within(t), &authv1.GoogleSignInRequest{IdToken: "junk"})
	// Without a provider in the settings there is no such sign-in.
	if code := status.Code(err); code != codes.Unauthenticated && code != codes.Unimplemented {
		t.Fatalf("%v", err)
	}
}
