package app

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/remote"
)

// Admin is what can be done to an instance by who can use its data directory,
// the same whether a server runs on it or not.
type Admin interface {
	// Token makes an identity token of the built-in provider.
	Token(ctx context.Context, req TokenRequest) (string, error)
	// ExplainToken says what would come of an identity token, without that anything is
	// certified. The error is why that cannot be said; why a token is refused is in the
	// explanation.
	ExplainToken(ctx context.Context, token string) (TokenExplanation, error)
	// Users lists the accounts of the built-in provider.
	Users(ctx context.Context) ([]User, error)
	// AddUser adds an account. Errors: Conflict for one that exists.
	AddUser(ctx context.Context, u NewUser) error
	// RemoveUser removes an account. Errors: NotFound.
	RemoveUser(ctx context.Context, email string) error
	// Rotate replaces a key, or says what would come of it, and gives the keys of its
	// role. Without a server on the instance, what is to be published and what follows
	// waits for the next start. Errors: Conflict with the dates while the role is being
	// rotated already, NotFound when what has to certify the key is kept elsewhere.
	Rotate(ctx context.Context, req RotateRequest) (RoleKeys, error)
	// Rotations gives the keys of all roles that can be rotated.
	Rotations(ctx context.Context) ([]RoleKeys, error)
	// CeremonyRequest makes the request by which the keepers of the instance's roots are
	// asked to sign for roles, ca, tsa or tuf; none is all that it needs now. It replaces
	// the one before.
	CeremonyRequest(ctx context.Context, roles []string) ([]byte, error)
	// CeremonyAccept takes the answer to the last request. Errors: NotFound without a
	// request, Conflict for the answer to another, Invalid and NotVerified for one that is
	// not as it should be.
	CeremonyAccept(ctx context.Context, answer []byte) (CeremonyAccepted, error)
	// Status says how the instance is.
	Status(ctx context.Context) (Status, error)
	// Close gives back what the Admin holds.
	Close() error
}

// TokenRequest asks for a token; zero fields are the provider's defaults.
type TokenRequest struct {
	Email    string
	Audience string
	Lifetime time.Duration
}

// TokenExplanation is what would come of a token. Refusal is nil if it is accepted.
type TokenExplanation struct {
	ca.Explanation
	Refusal *sigbox.Error
}

func explainToken(ctx context.Context, tokens *ca.Tokens, token string) (TokenExplanation, error) {
	x, err := tokens.Explain(ctx, token)
	refusal, ok := errors.AsType[*sigbox.Error](err)
	if err != nil && !ok {
		return TokenExplanation{}, err
	}
	return TokenExplanation{*x, refusal}, nil
}

// User is an account.
type User struct {
	Email   string    `json:"email"`
	Name    string    `json:"name,omitempty"`
	Created time.Time `json:"created"`
}

// NewUser is an account to be.
type NewUser struct {
	Email    string `json:"email"`
	Name     string `json:"name,omitempty"`
	Password string `json:"password"`
}

// accounts does what concerns users, for every kind of Admin that has the store.
type accounts struct{ users *oidc.Users }

func (a accounts) Users(ctx context.Context) ([]User, error) {
	if a.users == nil {
		return nil, elsewhere(RoleOIDC, "OpenID provider")
	}
	found, err := a.users.List(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]User, len(found))
	for i, u := range found {
		list[i] = User(u)
	}
	return list, nil
}

func (a accounts) AddUser(ctx context.Context, u NewUser) error {
	if a.users == nil {
		return elsewhere(RoleOIDC, "OpenID provider")
	}
	return a.users.Add(ctx, u.Email, u.Password, u.Name)
}

func (a accounts) RemoveUser(ctx context.Context, email string) error {
	if a.users == nil {
		return elsewhere(RoleOIDC, "OpenID provider")
	}
	return a.users.Remove(ctx, email)
}

// local is the Admin of a running instance, from within.
type local struct {
	accounts
	app *App
}

var _ Admin = local{}

func (l local) Token(ctx context.Context, req TokenRequest) (string, error) {
	if l.app.services.provider == nil {
		return "", elsewhere(RoleOIDC, "OpenID provider")
	}
	return l.app.services.provider.MintToken(ctx, req.Email, req.Audience, req.Lifetime)
}

func (l local) ExplainToken(ctx context.Context, token string) (TokenExplanation, error) {
	if l.app.services.ca == nil {
		return TokenExplanation{}, elsewhere(RoleCA, "certificate authority")
	}
	return explainToken(ctx, l.app.services.ca.Tokens, token)
}

func (l local) Rotate(ctx context.Context, req RotateRequest) (RoleKeys, error) {
	return l.app.services.rotations.rotate(ctx, req)
}

func (l local) Rotations(context.Context) ([]RoleKeys, error) {
	return l.app.services.rotations.status()
}

func (l local) Status(context.Context) (Status, error) { return l.app.status(), nil }

func (l local) Close() error { return nil }

// Admin gives what can be done to the instance from within the process.
func (a *App) Admin() Admin { return local{accounts{a.services.users}, a} }

// OpenAdmin gives the Admin of an instance: through its socket while a server
// runs on it, else from the directory. Only cfg's Data, File, Flags.Passphrase
// and Now are used. Errors: NotFound when there is no instance.
func OpenAdmin(ctx context.Context, cfg Config) (Admin, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	c, err := dialAdmin(ctx, cfg.Data)
	if err == nil {
		return c, nil
	}
	s, err := loadState(cfg.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, sigbox.Errorf(sigbox.NotFound, "there is no instance in %s", cfg.Data).WithHint("sigbox serve --data %s makes one", cfg.Data)
	case err != nil:
		return nil, diskError(cfg.Data, err)
	}
	return auditOffline(&offline{cfg: cfg, state: s}), nil
}

// offline is the Admin of an instance that no server runs on. It opens what a
// call needs, when it needs it.
type offline struct {
	cfg   Config
	state state

	opened *opened // nil until users were asked for
}

// opened is what stays open until Close.
type opened struct {
	accounts
	close func() error
}

var _ Admin = (*offline)(nil)

// Token needs the provider's key and nothing else of the directory, so that any
// number of callers can have tokens at once.
func (o *offline) Token(ctx context.Context, req TokenRequest) (token string, err error) {
	return token, o.withMinter(func(m *oidc.Minter, _ Settings) (err error) {
		token, err = m.MintToken(ctx, req.Email, req.Audience, req.Lifetime)
		return err
	})
}

func (o *offline) ExplainToken(ctx context.Context, token string) (x TokenExplanation, err error) {
	return x, o.withMinter(func(m *oidc.Minter, s Settings) error {
		tokens, err := ca.NewTokens(ca.TokensConfig{
			Issuers: s.issuers(o.state.URL, m.Keys), Providers: s.Providers,
			Keys: remote.NewIssuerKeys(remote.IssuerKeysConfig{}), Now: o.cfg.Now,
		})
		if err != nil {
			return err
		}
		x, err = explainToken(ctx, tokens, token)
		return err
	})
}

// withMinter calls f with what makes the provider's tokens, and the settings.
func (o *offline) withMinter(f func(*oidc.Minter, Settings) error) (err error) {
	s, err := o.cfg.load()
	if err != nil {
		return err
	}
	keeper, err := newKeeper(&o.cfg, &s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keeper.Close()) }()
	key, err := keeper.lazily(o.state.signing(oidcKey))
	if err != nil {
		return err
	}
	minter, err := oidc.NewMinter(oidc.MinterConfig{Issuer: issuerURL(o.state.URL), Key: key, Now: o.cfg.Now})
	if err != nil {
		return err
	}
	return f(minter, s)
}

func (o *offline) Users(ctx context.Context) ([]User, error) {
	if err := o.open(ctx); err != nil {
		return nil, err
	}
	return o.opened.Users(ctx)
}

func (o *offline) AddUser(ctx context.Context, u NewUser) error {
	if err := o.open(ctx); err != nil {
		return err
	}
	return o.opened.AddUser(ctx, u)
}

func (o *offline) RemoveUser(ctx context.Context, email string) error {
	if err := o.open(ctx); err != nil {
		return err
	}
	return o.opened.RemoveUser(ctx, email)
}

func (o *offline) Rotate(ctx context.Context, req RotateRequest) (keys RoleKeys, err error) {
	return keys, o.withRotator(!req.DryRun, func(r *rotator) error {
		keys, err = r.begin(ctx, req)
		return err
	})
}

func (o *offline) Rotations(context.Context) (all []RoleKeys, err error) {
	return all, o.withRotator(false, func(r *rotator) error {
		all, err = r.status()
		return err
	})
}

// withRotator calls f with what begins rotations. Whoever changes something has the
// directory alone.
func (o *offline) withRotator(changes bool, f func(*rotator) error) (err error) {
	s, err := o.cfg.load()
	if err != nil {
		return err
	}
	if changes {
		held, err := lockDir(o.cfg.Data)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, held.Close()) }()
	}
	st, err := loadState(o.cfg.Data) // as it is under the lock
	if err != nil {
		return diskError(o.cfg.Data, err)
	}
	if !st.Complete {
		return sigbox.Errorf(sigbox.Conflict, "the instance in %s has not been started to its end", o.cfg.Data).WithHint("start it once: sigbox serve --data %s", o.cfg.Data)
	}
	keeper, err := newKeeper(&o.cfg, &s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keeper.Close()) }()
	return f(&rotator{cfg: &o.cfg, settings: &s, keeper: keeper, state: &record{dir: o.cfg.Data, now: st}})
}

func (o *offline) Status(context.Context) (Status, error) { return o.state.status(o.cfg.Data), nil }

func (o *offline) Close() error {
	if o.opened == nil {
		return nil
	}
	return o.opened.close()
}

// open takes the directory and the store.
func (o *offline) open(ctx context.Context) error {
	if o.opened != nil {
		return nil
	}
	held, err := lockDir(o.cfg.Data)
	if err != nil {
		return err
	}
	kv, err := openKV(ctx, o.cfg.Data, o.cfg.Logger)
	if err != nil {
		return errors.Join(err, held.Close())
	}
	o.opened = &opened{
		accounts: accounts{openUsers(kv, o.cfg.Now)},
		close:    func() error { return errors.Join(kv.Close(), held.Close()) },
	}
	return nil
}
