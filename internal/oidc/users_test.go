package oidc_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
)

const (
	alice     = "Alice@Example.org"
	password  = "correct horse battery"
	password2 = "another good password"
)

func wantKind(t *testing.T, err error, want sigbox.Kind) {
	t.Helper()
	if err == nil || sigbox.KindOf(err) != want {
		t.Errorf("error %v, want kind %q", err, want)
	}
}

func TestUsers(t *testing.T) {
	kv := memory.NewKV()
	users := oidc.NewUsers(oidc.UsersConfig{KV: kv})
	ctx := t.Context()

	if err := users.Add(ctx, alice, password, "Alice"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, users.Add(ctx, strings.ToLower(alice), password, ""), sigbox.Conflict)
	wantKind(t, users.Add(ctx, "no address", password, ""), sigbox.Invalid)
	wantKind(t, users.Add(ctx, "bob@example.org", "short", ""), sigbox.Invalid)
	wantKind(t, users.Add(ctx, "bob@example.org", password, "B\x00b"), sigbox.Invalid)

	all, err := users.List(ctx)
	if err != nil || len(all) != 1 || all[0].Email != alice || all[0].Name != "Alice" {
		t.Errorf("list: %+v, %v", all, err)
	}
	user, err := users.Authenticate(ctx, strings.ToUpper(alice), password)
	if err != nil || user.Email != alice {
		t.Errorf("sign in: %+v, %v; want the address as it was added", user, err)
	}
	_, wrong := users.Authenticate(ctx, alice, password2)
	_, unknown := users.Authenticate(ctx, "bob@example.org", password)
	_, long := users.Authenticate(ctx, strings.Repeat("b", 1<<20), password)
	wantKind(t, wrong, sigbox.Unauthenticated)
	for _, err := range []error{unknown, long} {
		if err == nil || err.Error() != wrong.Error() {
			t.Errorf("unknown user: %q; wrong password: %q; they must not differ", err, wrong)
		}
	}

	if err := users.SetPassword(ctx, alice, password2); err != nil {
		t.Fatal(err)
	}
	if _, err := users.Authenticate(ctx, alice, password2); err != nil {
		t.Error(err)
	}
	wantKind(t, users.SetPassword(ctx, "bob@example.org", password), sigbox.NotFound)

	for pair, err := range kv.Scan(ctx, nil, nil) {
		if err != nil || bytes.Contains(pair.Value, []byte(password2)) {
			t.Errorf("the store has %s in plain text (%v)", pair.Key, err)
		}
	}

	if err := users.Remove(ctx, alice); err != nil {
		t.Fatal(err)
	}
	wantKind(t, users.Remove(ctx, alice), sigbox.NotFound)
	_, err = users.Get(ctx, alice)
	wantKind(t, err, sigbox.NotFound)
}

func TestUsersAddedAtOnce(t *testing.T) {
	users := oidc.NewUsers(oidc.UsersConfig{KV: memory.NewKV()})
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = users.Add(t.Context(), alice, password, "") })
	}
	wg.Wait()
	var added int
	for _, err := range errs {
		if err == nil {
			added++
		} else if !errors.Is(err, store.ErrConflict) {
			t.Error(err)
		}
	}
	if added != 1 {
		t.Errorf("added %d times, want once", added)
	}
}

func TestUsersOnADamagedStore(t *testing.T) {
	kv := memory.NewKV()
	users := oidc.NewUsers(oidc.UsersConfig{KV: kv})
	for _, value := range []string{"", "{", `{"email":"a@b"}x`, `{"email":"a@b","admin":true}`} {
		key := []byte("user/a@b")
		b := store.Batch{Deletes: []store.Range{{From: key, To: []byte("user/a@c")}}, Writes: []store.Pair{{Key: key, Value: []byte(value)}}}
		if err := kv.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		_, err := users.Authenticate(t.Context(), "a@b", password)
		wantKind(t, err, sigbox.Internal)
		_, err = users.List(t.Context())
		wantKind(t, err, sigbox.Internal)
	}
}
