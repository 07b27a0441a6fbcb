package ca

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// TokensConfig is what [Tokens] need; see [Config].
type TokensConfig struct {
	Issuers   []Issuer
	Providers map[string]Provider
	Keys      KeySource
	Spent     store.KV
	Now       func() time.Time
	Logger    *slog.Logger
}

// Tokens judges identity tokens: who they speak for, if anybody whom the authority
// certifies. Its methods are safe for concurrent use.
type Tokens struct {
	keys    *keyCache
	spent   *spent // nil if tokens can be used again
	now     func() time.Time
	log     *slog.Logger
	issuers atomic.Pointer[registry]
}

// NewTokens makes a Tokens. Errors are of kind Invalid and name the issuer that cannot
// be used.
func NewTokens(c TokensConfig) (*Tokens, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Tokens{keys: &keyCache{source: c.Keys, now: c.Now, log: c.Logger}, now: c.Now, log: c.Logger}
	if c.Spent != nil {
		s.spent = &spent{kv: c.Spent, now: c.Now}
	}
	if err := s.SetIssuers(c.Issuers, c.Providers); err != nil {
		return nil, err
	}
	return s, nil
}

// SetIssuers replaces the issuers whose tokens are accepted, and the CI providers by
// name besides those of [Providers], from the next token on. An error of kind Invalid
// names the issuer or provider that cannot be used, and changes nothing.
func (s *Tokens) SetIssuers(issuers []Issuer, providers map[string]Provider) error {
	apply, err := s.PrepareIssuers(issuers, providers)
	if err == nil {
		apply()
	}
	return err
}

// PrepareIssuers is SetIssuers in two steps: nothing is changed before apply is called,
// which cannot fail.
func (s *Tokens) PrepareIssuers(issuers []Issuer, providers map[string]Provider) (apply func(), err error) {
	all := Providers()
	maps.Copy(all, providers)
	for name, p := range providers { // also one that no issuer has
		if _, err := compileProvider(p); err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "CI provider %.100q: %w", name, err)
		}
	}
	r, err := newRegistry(issuers, all)
	if err != nil {
		return nil, err
	}
	return func() { s.issuers.Store(r) }, nil
}

// Issuers gives the issuers whose tokens are accepted, in the order of their
// configuration, with defaults filled in.
func (s *Tokens) Issuers() []Issuer { return s.issuers.Load().list() }

// Explanation is what came of a token, door by door.
type Explanation struct {
	// Passed are the doors that it passed, in their order.
	Passed []Door
	// Refused is the door that it did not pass, "" if it passed all.
	Refused string
	// Claims are the names of the claims that the token has, whoever signed it, and
	// Missing those that its issuer's type calls for besides.
	Claims, Missing []string
	// Identity is who would be certified, and Proofs the texts of which one has to be
	// signed with the key to certify. They are set when all doors were passed.
	Identity sigbox.Identity
	Proofs   []string
}

// Door is one of the questions that a token has to have an answer to.
type Door struct{ Name, Found string }

// The doors, in the order in which a token comes to them.
const (
	DoorForm      = "form"      // a signed JWT, with an algorithm that is accepted
	DoorIssuer    = "issuer"    // an issuer of the configuration
	DoorSignature = "signature" // by a key that the issuer publishes
	DoorAudience  = "audience"  // for this authority
	DoorTimes     = "times"     // now
	DoorClaims    = "claims"    // what the issuer's type calls for
	DoorUse       = "use"       // not used before, where tokens are good for one certificate
)

// pass notes that a door was passed, and which comes next; for nobody, if x is nil.
func (x *Explanation) pass(name, next, format string, args ...any) {
	if x == nil {
		return
	}
	x.Passed = append(x.Passed, Door{name, fmt.Sprintf(format, args...)})
	x.Refused = next
}

// Explain says what would come of a token, without that anything is certified. The
// error is why it is refused, nil if it is not; see [Service.Issue].
func (s *Tokens) Explain(ctx context.Context, token string) (*Explanation, error) {
	x := Explanation{Refused: DoorForm}
	t, who, err := s.judge(ctx, token, &x)
	if err == nil && s.spent != nil {
		x.Refused = DoorUse
		if err = s.spent.check(ctx, t.ticket); err == nil {
			x.pass(DoorUse, "", "for the first time")
		}
	}
	if err == nil {
		x.Identity, x.Proofs = who.identity, who.proofs
	}
	return &x, err
}

// judge verifies a token and gives who it speaks for. A token is a compact JWS (RFC 7515
// §7.1) with the claims of an ID token (OpenID Connect Core 1.0 §2). Errors are of kind
// Unauthenticated, TooLarge, or Unavailable when the issuer's keys cannot be had. What
// came of it is noted in x, if that is not nil.
func (s *Tokens) judge(ctx context.Context, token string, x *Explanation) (*verifiedToken, principal, error) {
	t, err := s.authenticate(ctx, token, x)
	if err != nil {
		return nil, principal{}, err
	}
	who, err := t.principal()
	if err != nil {
		x.miss(t)
		return nil, principal{}, err
	}
	x.pass(DoorClaims, "", "all that the type %s calls for", t.issuer.Type)
	return t, who, nil
}

func (s *Tokens) authenticate(ctx context.Context, token string, x *Explanation) (*verifiedToken, error) {
	head, err := parseHeader(token)
	if err != nil {
		return nil, err
	}
	jws, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil {
		return nil, malformed().WithCause(err)
	}
	// The payload is not verified yet: of it only the issuer is looked at, to
	// know whose keys to verify it with.
	payload := jws.UnsafePayloadWithoutVerification()
	c, err := parseClaims(payload)
	if err != nil {
		return nil, err
	}
	if x != nil {
		x.Claims = slices.Sorted(maps.Keys(c))
	}
	x.pass(DoorForm, DoorIssuer, "a JWT of %d bytes, signed with %s", len(token), head.Alg)
	iss, err := c.text("iss")
	if err != nil {
		return nil, err
	}
	issuer := s.issuers.Load().find(iss)
	if issuer == nil {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "tokens of the issuer %.200q are not accepted here", iss).
			WithHint("/api/v2/configuration lists the issuers that are")
	}
	x.pass(DoorIssuer, DoorSignature, "%s, of the type %s%s", iss, issuer.Type, issuer.rule())
	if err := s.verifySignature(ctx, issuer, iss, head, jws, payload); err != nil {
		return nil, err
	}
	x.pass(DoorSignature, DoorAudience, "by a key of the issuer%s", named(head.Kid))
	t := &verifiedToken{issuer: issuer, iss: iss, claims: c}
	if err := checkAudience(c, issuer.Audience); err != nil {
		return nil, err
	}
	x.pass(DoorAudience, DoorTimes, "%s", issuer.Audience)
	until, err := t.checkTimes(s.now())
	if err != nil {
		return nil, err
	}
	x.pass(DoorTimes, DoorClaims, "good until %s", stamp(until))
	t.ticket = newTicket(token, until)
	if t.sub, err = c.text("sub"); err != nil {
		x.miss(t)
		return nil, err
	}
	return t, nil
}

// Verify checks a token as far as it concerns everybody: its form, that its issuer is
// one of those that are accepted, signature, audience and times. It gives the claims as
// JSON; what they are good for is the caller's to judge.
func (s *Tokens) Verify(ctx context.Context, token string) ([]byte, error) {
	t, err := s.authenticate(ctx, token, nil)
	if err != nil {
		return nil, err
	}
	return json.Marshal(t.claims)
}

// miss notes all claims that a token lacks: who refuses it names the first alone.
func (x *Explanation) miss(t *verifiedToken) {
	if x == nil {
		return
	}
	for _, name := range t.issuer.needs() {
		if !t.claims.has(name) {
			x.Missing = append(x.Missing, name)
		}
	}
}

// rule is how the pattern is shown that an issuer falls under.
func (i *issuer) rule() string {
	if !i.Wildcard() {
		return ""
	}
	return ", by the rule for " + i.URL
}

// named is how a key's name is shown.
func named(kid string) string {
	const most = 80
	switch {
	case kid == "":
		return ""
	case len(kid) > most:
		return fmt.Sprintf(" named %.*q…", most, strings.ToValidUTF8(kid, ""))
	}
	return fmt.Sprintf(" named %q", kid)
}
