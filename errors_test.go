package sigbox_test

import (
	"net/http"
	"testing"

	"github.com/sigbox/sigbox"
)

func TestKindOfStatus(t *testing.T) {
	for status, want := range map[int]sigbox.Kind{
		http.StatusUnauthorized:          sigbox.Unauthenticated,
		http.StatusForbidden:             sigbox.Denied,
		http.StatusNotFound:              sigbox.NotFound,
		http.StatusConflict:              sigbox.Conflict,
		http.StatusPreconditionFailed:    sigbox.Conflict,
		http.StatusRequestEntityTooLarge: sigbox.TooLarge,
		http.StatusRequestTimeout:        sigbox.Unavailable,
		http.StatusTooManyRequests:       sigbox.Unavailable,
		http.StatusInternalServerError:   sigbox.Unavailable,
		http.StatusServiceUnavailable:    sigbox.Unavailable,
		599:                              sigbox.Unavailable,
		http.StatusBadRequest:            sigbox.Invalid,
		http.StatusGone:                  sigbox.Invalid,
		http.StatusOK:                    sigbox.Invalid,
		http.StatusFound:                 sigbox.Invalid,
	} {
		if got := sigbox.KindOfStatus(status); got != want {
			t.Errorf("%d: expected %v, found %v", status, want, got)
		}
	}
}
