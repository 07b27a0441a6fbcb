package pebble

import (
	"errors"
	"testing"

	"github.com/sigbox/sigbox/internal/store"
)

// A call that the store has given up is still at work in Pebble: the memory that it
// writes to must not be given back below it, where another store could get it.
func TestCloseBelowCall(t *testing.T) {
	kv, err := Open(t.Context(), t.TempDir(), Options{MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	gaveUp := make(chan error, 1)
	go func() {
		gaveUp <- kv.unless(kv.failed, func() error {
			defer close(ended)
			close(begun)
			<-end
			_, err := kv.get([]byte("a")) // it panics if the database was closed
			ended <- err
			return err
		})
	}()
	<-begun
	failure := errors.New("the disk failed")
	_ = kv.breakDown(failure)
	if err := <-gaveUp; !errors.Is(err, failure) {
		t.Errorf("expected %v, found %v", failure, err)
	}
	if err := kv.Close(); !errors.Is(err, failure) {
		t.Errorf("expected %v, found %v", failure, err)
	}
	close(end)
	if err := <-ended; !errors.Is(err, store.ErrNotFound) {
		t.Errorf("expected %v, found %v", store.ErrNotFound, err)
	}
	_ = kv.db.Close() // it was left open
}
