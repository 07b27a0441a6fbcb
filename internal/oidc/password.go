package oidc

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/sigbox/sigbox"
)

// Bounds of a password: characters at least, bytes at most.
const (
	minPassword = 12
	maxPassword = 1024
)

// argon2id's parameters: the second choice of OWASP's Password Storage Cheat
// Sheet, 19 MiB and two passes.
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32
)

// Bounds of what a stored hash may ask for, so that a damaged or foreign store
// cannot exhaust the machine.
const (
	maxArgonMemory  = 64 * 1024 // KiB
	maxArgonTime    = 16
	maxArgonThreads = 8
)

// Bounds of hashing at a time: each takes 19 MiB, and a login flood must wait.
const (
	maxHashing = 2
	maxWaiting = 64
)

// CheckPassword is the policy for new passwords.
func CheckPassword(email, password string) error {
	switch {
	case !utf8.ValidString(password):
		return sigbox.Errorf(sigbox.Invalid, "the password is not valid UTF-8")
	case utf8.RuneCountInString(password) < minPassword:
		return sigbox.Errorf(sigbox.Invalid, "the password is shorter than %d characters", minPassword).
			WithHint("a few random words make a good one")
	case len(password) > maxPassword:
		return sigbox.Errorf(sigbox.Invalid, "the password is longer than %d bytes", maxPassword)
	case strings.EqualFold(password, email):
		return sigbox.Errorf(sigbox.Invalid, "the password is the email address")
	}
	return nil
}

// hasher derives password hashes, a few at a time.
type hasher struct {
	rand    io.Reader
	running chan struct{} // holds a token for each hash under way
	waiting chan struct{} // and one for each caller inside
}

func newHasher(rand io.Reader) *hasher {
	return &hasher{rand, make(chan struct{}, maxHashing), make(chan struct{}, maxHashing+maxWaiting)}
}

// hash makes the stored form of a password with a fresh salt.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	p := phc{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, argonSalt)}
	if _, err := io.ReadFull(h.rand, p.salt); err != nil {
		return "", fmt.Errorf("making a salt: %w", err)
	}
	var err error
	p.key, err = h.derive(ctx, p, password)
	if err != nil {
		return "", err
	}
	return p.String(), nil
}

// verify compares a password with its stored form. A user who does not exist has
// stored "": the work is the same and the answer is no.
func (h *hasher) verify(ctx context.Context, stored, password string) (bool, error) {
	p, err := parsePHC(stored)
	if stored == "" {
		p, err = phc{memory: argonMemory, time: argonTime, threads: argonThreads,
			salt: make([]byte, argonSalt), key: make([]byte, argonKey)}, nil
	}
	if err != nil {
		return false, err
	}
	key, err := h.derive(ctx, p, password)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1 && stored != "", nil
}

// derive runs argon2id once there is room for it.
func (h *hasher) derive(ctx context.Context, p phc, password string) ([]byte, error) {
	if len(password) > maxPassword {
		password = "" // longer than any that was ever set, so it cannot match
	}
	select {
	case h.waiting <- struct{}{}:
		defer func() { <-h.waiting }()
	default:
		return nil, errBusy()
	}
	select {
	case h.running <- struct{}{}:
		defer func() { <-h.running }()
	case <-ctx.Done():
		return nil, errBusy().WithCause(ctx.Err())
	}
	return argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, argonKey), nil
}

func errBusy() *sigbox.Error {
	return sigbox.Errorf(sigbox.Unavailable, "too many people sign in at this moment").WithHint("try again in a few seconds")
}

// phc is an argon2id hash with its parameters, in the PHC string format.
//
// Source: https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
type phc struct {
	memory, time uint32 // KiB, passes
	threads      uint8
	salt, key    []byte
}

func (p phc) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads, b64(p.salt), b64(p.key))
}

// parsePHC reads what String writes, and nothing else.
func parsePHC(s string) (phc, error) {
	bad := sigbox.Errorf(sigbox.Internal, "a stored password hash is damaged").WithHint("set the user's password again")
	parts := strings.Split(s, "$")
	if len(s) > 512 || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, bad
	}
	params := strings.Split(parts[3], ",")
	if len(params) != 3 {
		return phc{}, bad
	}
	p := phc{
		memory:  phcNumber(params[0], "m=", maxArgonMemory),
		time:    phcNumber(params[1], "t=", maxArgonTime),
		threads: uint8(phcNumber(params[2], "p=", maxArgonThreads)), //nolint:gosec // G115: at most maxArgonThreads
	}
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	p.key, err2 = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err1 != nil || err2 != nil || p.memory < 8 || p.time == 0 || p.threads == 0 || len(p.salt) < 8 || len(p.key) != argonKey || p.String() != s {
		return phc{}, bad
	}
	return p, nil
}

// phcNumber reads "m=19456"; 0 is what it gives for everything that it refuses.
func phcNumber(s, name string, limit uint64) uint32 {
	digits, ok := strings.CutPrefix(s, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n > limit {
		return 0
	}
	return uint32(n)
}
