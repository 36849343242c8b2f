package shop

import (
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"

	shopv1 "sightline/gen/shop/v1"
)

// The audio pipeline is off in this server, and each of its calls says so and leaves the book as it is. The reference's cases
// `resume_needs_no_argument`, `a_step_can_be_redone` and `providers_switch_in_the_middle` are tests of the command, with a provider by script.
func Test_an_audio_pipeline_that_is_off_says_so(t *testing.T) {
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
			_, err := s.manage.ListProviders(admin, &shopv1.ListProvidersRequest{Task: shopv1.ProviderTask_PROVIDER_TASK_TRANSCRIBE})
			return err
		},
		"SetProviderOrder": func() error {
			_, err := s.manage.SetProviderOrder(admin, &shopv1.SetProviderOrderRequest{
				Task: shopv1.ProviderTask_PROVIDER_TASK_TRANSCRIBE, Names: []string{"here"},
			})
			return err
		},
		"SetProviderState": func() error {
			_, err := s.manage.SetProviderState(admin, &shopv1.SetProviderStateRequest{
				Name: "here", Action: shopv1.ProviderAction_PROVIDER_ACTION_DISABLE,
			})
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
		t.Run(name, func(t *testing.T) { refused(t, call(), codes.Unimplemented, "audio_off") })
	}
	for method, path := range map[string]string{
		http.MethodGet: "/v1/books/" + id + "/pipeline", http.MethodPost: "/v1/providers/here/disable",
	} {
		if rest := s.rest(t, method, path, s.admin, nil); rest.status != http.StatusNotImplemented || rest.code() != "audio_off" {
			t.Errorf("%s %s: %d %s", method, path, rest.status, rest.body)
		}
	}
	request := &shopv1.GetAudiobookStatusRequest{AudiobookId: id}
	state := succeeds[*shopv1.GetAudiobookStatusResponse](t)(s.shop.GetAudiobookStatus(as(t, s.admin), request))
	if state.Status != shopv1.MediaStatus_MEDIA_READY {
		t.Fatalf("the book is %v", state.Status)
	}
}
