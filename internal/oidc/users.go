package oidc

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// maxName bounds a user's name, in bytes.
const maxName = 256

// userPrefix begins the key of each user; the lower-case address follows.
const userPrefix = "user/"

// User is somebody who can sign in with a password.
type User struct {
	// Email is the address exactly as it was added; tokens carry it so.
	Email string
	// Name is what to call them, or "".
	Name string
	// Created is when they were added.
	Created time.Time
}

// UsersConfig is what Users need. Only KV is required.
type UsersConfig struct {
	// KV holds the users; the keys begin with "user/".
	KV store.KV
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Rand gives salts; nil is crypto/rand.
	Rand io.Reader
}

// Users are the local accounts. Methods are safe for concurrent use, also by
// several processes on one store: each change checks what it found.
type Users struct {
	kv     store.KV
	now    func() time.Time
	hasher *hasher
}

// NewUsers gives the accounts that a store holds.
func NewUsers(c UsersConfig) *Users {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return &Users{kv: c.KV, now: c.Now, hasher: newHasher(c.Rand)}
}

// userRecord is a user as the store holds it.
type userRecord struct {
	Email    string    `json:"email"`
	Name     string    `json:"name,omitempty"`
	Created  time.Time `json:"created"`
	Password string    `json:"password"` // PHC string
}

func (r userRecord) user() User { return User{r.Email, r.Name, r.Created} }

// Add makes a user. Errors: Invalid for the address, name or password; Conflict
// when the address is taken, in whichever letter case.
func (u *Users) Add(ctx context.Context, email, password, name string) error {
	if err := cmp.Or(CheckEmail(email), checkName(name), CheckPassword(email, password)); err != nil {
		return err
	}
	hash, err := u.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	r := userRecord{Email: email, Name: name, Created: u.now().UTC().Truncate(time.Second), Password: hash}
	err = u.write(ctx, email, nil, &r)
	if errors.Is(err, store.ErrConflict) {
		return sigbox.Errorf(sigbox.Conflict, "there is a user %s already", quoted(email)).WithCause(err)
	}
	return err
}

// List gives all users, by address.
func (u *Users) List(ctx context.Context) ([]User, error) {
	var all []User
	for pair, err := range u.kv.Scan(ctx, []byte(userPrefix), usersEnd()) {
		if err != nil {
			return nil, fmt.Errorf("listing users: %w", err)
		}
		r, err := parseUser(pair.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, r.user())
	}
	return all, nil
}

// any says whether there is a user at all.
func (u *Users) any(ctx context.Context) (bool, error) {
	for _, err := range u.kv.Scan(ctx, []byte(userPrefix), usersEnd()) {
		return err == nil, err
	}
	return false, nil
}

// usersEnd is behind the keys of all users.
func usersEnd() []byte {
	end := []byte(userPrefix)
	end[len(end)-1]++
	return end
}

// Get gives one user, or NotFound.
func (u *Users) Get(ctx context.Context, email string) (User, error) {
	r, _, err := u.read(ctx, email)
	return r.user(), err
}

// Remove deletes a user; tokens that are out end by themselves within minutes.
// Errors: NotFound.
func (u *Users) Remove(ctx context.Context, email string) error {
	_, old, err := u.read(ctx, email)
	if err != nil {
		return err
	}
	return u.write(ctx, email, old, nil)
}

// SetPassword changes a user's password. Errors: NotFound, Invalid, Conflict
// when somebody else changed the user meanwhile.
func (u *Users) SetPassword(ctx context.Context, email, password string) error {
	if err := CheckPassword(email, password); err != nil {
		return err
	}
	r, old, err := u.read(ctx, email)
	if err != nil {
		return err
	}
	r.Password, err = u.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	return u.write(ctx, email, old, &r)
}

// Authenticate gives the user whose password this is. An unknown user and a wrong
// password cost the same and give the same error, Unauthenticated. Unavailable
// says that too many are being checked.
func (u *Users) Authenticate(ctx context.Context, email, password string) (User, error) {
	r, _, err := u.read(ctx, email)
	if err != nil && sigbox.KindOf(err) != sigbox.NotFound {
		return User{}, err
	}
	ok, err := u.hasher.verify(ctx, r.Password, password)
	if err != nil {
		return User{}, err
	}
	if !ok {
		return User{}, sigbox.Errorf(sigbox.Unauthenticated, "the email address or the password is wrong")
	}
	return r.user(), nil
}

// read gives a user and the bytes that the store holds for it.
func (u *Users) read(ctx context.Context, email string) (r userRecord, raw []byte, err error) {
	if len(email) > maxEmail {
		return r, nil, errNoUser(email)
	}
	raw, err = u.kv.Get(ctx, userKey(email))
	if errors.Is(err, store.ErrNotFound) {
		return r, nil, errNoUser(email)
	}
	if err != nil {
		return r, nil, fmt.Errorf("reading a user: %w", err)
	}
	r, err = parseUser(raw)
	return r, raw, err
}

// write replaces what the store holds for a user; nil means absent on both sides.
func (u *Users) write(ctx context.Context, email string, old []byte, r *userRecord) error {
	key := userKey(email)
	b := store.Batch{Checks: []store.Check{{Key: key, Want: old}}}
	if r == nil {
		b.Deletes = []store.Range{{From: key, To: append(bytes.Clone(key), 0)}}
	} else {
		value, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encoding a user: %w", err)
		}
		b.Writes = []store.Pair{{Key: key, Value: value}}
	}
	err := u.kv.Commit(ctx, b)
	switch {
	case errors.Is(err, store.ErrConflict):
		return sigbox.Errorf(sigbox.Conflict, "the user %s was changed meanwhile", quoted(email)).WithCause(err)
	case err != nil:
		return fmt.Errorf("storing a user: %w", err)
	}
	return nil
}

func userKey(email string) []byte { return []byte(userPrefix + emailKey(email)) }

func parseUser(raw []byte) (r userRecord, err error) {
	if err := json.Unmarshal(raw, &r, json.RejectUnknownMembers(true)); err != nil {
		return r, sigbox.Errorf(sigbox.Internal, "a stored user is damaged").WithCause(err)
	}
	return r, nil
}

func checkName(name string) error {
	if len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return sigbox.Mismatch(sigbox.Invalid, "the user's name cannot be used",
			fmt.Sprintf("at most %d bytes of text without control characters", maxName), quoted(name))
	}
	return nil
}

func errNoUser(email string) error {
	return sigbox.Errorf(sigbox.NotFound, "there is no user %s", quoted(email)).WithHint("list them with: sigbox user list")
}

// quoted shows input from outside, cut to a sane length.
func quoted(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strconv.Quote(s)
}
