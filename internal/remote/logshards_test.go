package remote_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
)

// TestShards: a server says which logs it has; what is no such list is none, and one
// without end is refused.
func TestShards(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		shards int
		kind   sigbox.Kind // 0 without an error
	}{
		"two":           {http.StatusOK, `{"shards":[{"name":"rekor2","log":"v2","logId":"AA=="},{"name":"rekor2.2","log":"v2","more":1}]}`, 2, 0},
		"none":          {http.StatusOK, `{"shards":[]}`, 0, 0},
		"another API":   {http.StatusOK, `[1]`, 0, 0},
		"a page":        {http.StatusOK, `<html>`, 0, 0},
		"no such route": {http.StatusNotFound, `404`, 0, 0},
		"not allowed":   {http.StatusForbidden, `no`, 0, 0},
		"away":          {http.StatusServiceUnavailable, ``, 0, sigbox.Unavailable},
		"a command":     {http.StatusOK, `{"shards":[{"name":"rekor2;reboot","log":"v2"}]}`, 0, sigbox.Invalid},
		"an option":     {http.StatusOK, `{"shards":[{"name":"--data=/","log":"v2"}]}`, 0, sigbox.Invalid},
		"a long name":   {http.StatusOK, `{"shards":[{"name":"` + strings.Repeat("a", 41) + `","log":"v2"}]}`, 0, sigbox.Invalid},
		"too many":      {http.StatusOK, `{"shards":[{}` + strings.Repeat(`,{}`, 300) + `]}`, 0, sigbox.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/api/shards" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			}))
			defer server.Close()
			shards, err := remote.New(remote.Config{Retries: -1}).Shards(t.Context(), server.URL+"/")
			if len(shards) != tc.shards || (err == nil) != (tc.kind == 0) || err != nil && sigbox.KindOf(err) != tc.kind {
				t.Errorf("found %+v, %v", shards, err)
			}
		})
	}
}
