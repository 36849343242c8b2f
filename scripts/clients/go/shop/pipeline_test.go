package shop

import (
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"

	shopv1 "sightline/gen/shop/v1"
)

// The reference's cases `resume_needs_no_argument`, `a_step_can_be_redone` and `providers_switch_in_the_middle` come with the audio
// pipeline. Until then each of its calls says that it is not built, and leaves the book as it is.
func Test_the_audio_pipeline_is_not_built(t *testing.T) {
	s := open(t)
	book, _ := s.sell(t, 100)
	id, admin := book.Id, as(t, s.admin)
	calls := map[string]func() error{
		"GetPipeline": func() error {
			_, err := s.manage.GetPipeline(admin, &shopv1.GetPipelineRequest{AudiobookId: id})
			return err
		},
		"WatchPipeline": func() error {
			stream, err := s.manage.WatchPipeline(admin, &shopv1.WatchPipelineRequest{AudiobookId: id})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"ListProviders": func() error {
			_, err := s.manage.ListProviders(admin, &shopv1.ListProvidersRequest{})
			return err
		},
		"SetProviderOrder": func() error {
			_, err := s.manage.SetProviderOrder(admin, &shopv1.SetProviderOrderRequest{})
			return err
		},
		"SetProviderState": func() error {
			_, err := s.manage.SetProviderState(admin, &shopv1.SetProviderStateRequest{})
			return err
		},
		"GetLedger": func() error {
			_, err := s.manage.GetLedger(admin, &shopv1.GetLedgerRequest{})
			return err
		},
		"GetTranscript": func() error {
			_, err := s.shop.GetTranscript(admin, &shopv1.GetTranscriptRequest{AudiobookId: id})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) { refused(t, call(), codes.Unimplemented, "not_built") })
	}
	for method, path := range map[string]string{
		http.MethodGet: "/v1/books/" + id + "/pipeline", http.MethodPut: "/v1/providers/order",
	} {
		if rest := s.rest(t, method, path, s.admin, nil); rest.status != http.StatusNotImplemented || rest.code() != "not_built" {
			t.Errorf("%s %s: %d %s", method, path, rest.status, rest.body)
		}
	}
	request := &shopv1.GetAudiobookStatusRequest{AudiobookId: id}
	state := succeeds[*shopv1.GetAudiobookStatusResponse](t)(s.shop.GetAudiobookStatus(as(t, s.admin), request))
	if state.Status != shopv1.MediaStatus_MEDIA_READY {
		t.Fatalf("the book is %v", state.Status)
	}
}
