package httpfallback_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/httpfallback"
	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/PitchConnect/fogispubsub/message"
)

type calls int

func (c *calls) Dispatch(context.Context, string, []byte) (message.Result, error) {
	*c++
	return message.Result{}, nil
}

// Whatever is posted, the answer is JSON, and it is success exactly when the
// receiver was asked.
func FuzzHandler(f *testing.F) {
	for _, body := range []string{
		"", "null", "[]", "{}", `{"matches":[]}`, `{"matches":null}`, `{"matches":[{"matchid":1}]}`, `["matches"]`, `[{}]`,
		`{"type":"match_updates","payload":{"matches":[{"matchid":1}]}}`, `{"type":"system_alert","payload":{"alert_type":"a"}}`,
		`{"type":"match_updates","payload":null}`, `{"part":{"n":1,"of":2},"type":"match_updates","payload":{"matches":[{"matchid":1}]}}`,
		`{"matches":[NaN]}`, "\xff", strings.Repeat("[", 5000), `{"payload":{}}`, `{"type":"processing_status","payload":{"status":"x"}}`,
	} {
		f.Add(body)
	}
	var asked calls
	h, err := httpfallback.Handler(&asked, httpfallback.HandlerOptions{AllowUnauthenticated: true, Logger: logcheck.New(f)})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, body string) {
		asked = 0
		w := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodPost, "/manual-sync", strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, req)
		var answer struct{ Success *bool }
		if json.Unmarshal(w.Body.Bytes(), &answer) != nil || answer.Success == nil {
			t.Fatalf("%d: %q is no answer", w.Code, w.Body)
		}
		if ok := w.Code == http.StatusOK; ok != *answer.Success || ok != (asked == 1) {
			t.Fatalf("%d, success %v, asked %d times", w.Code, *answer.Success, asked)
		}
	})
}
