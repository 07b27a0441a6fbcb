package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/sign"
)

// loginFlags say where an identity token comes from.
type loginFlags struct {
	token      string
	issuer     string
	clientID   string
	secretFile string
	flow       string
	// insecureHTTP lets the token go over plain http to other machines.
	insecureHTTP bool
}

func (f *loginFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.token, "identity-token", "", "identity token: the token itself, a `FILE`, or - for standard input")
	fs.StringVar(&f.issuer, "oidc-issuer", "", "`URL` of the OpenID provider to log in at (default: the instance's)")
	fs.StringVar(&f.clientID, "oidc-client-id", "", "`ID` by which the provider knows sigbox (default sigstore)")
	fs.StringVar(&f.secretFile, "oidc-client-secret-file", "", "`FILE` with the client's secret, for providers that want one")
	fs.StringVar(&f.flow, "fulcio-auth-flow", "", "`FLOW` to log in by: normal (a browser here), device (a browser anywhere) or client_credentials")
	fs.BoolVar(&f.insecureHTTP, "insecure-http", false, "let the identity token go over plain http to other machines")
	_ = cmd.RegisterFlagCompletionFunc("fulcio-auth-flow", cobra.FixedCompletions([]string{"normal", "device", "client_credentials"}, cobra.ShellCompDirectiveNoFileComp))
}

// tokenSource gets identity tokens for one run of a verb.
type tokenSource struct {
	env    *env
	flags  loginFlags
	client *remote.Client
	// issuer is the instance's OpenID provider; "" when it names none.
	issuer string
	last   sign.Token
}

// token gives an identity token, the last one again as long as it is good; see
// [sign.Config]. It is called by one goroutine at a time.
func (s *tokenSource) token(ctx context.Context) (sign.Token, error) {
	if s.last.Raw != "" && (s.last.Expires.IsZero() || s.env.now().Before(s.last.Expires)) {
		return s.last, nil
	}
	raw, err := s.find(ctx)
	if err != nil {
		return sign.Token{}, err
	}
	t, err := sign.ParseToken(raw)
	if err != nil {
		return sign.Token{}, err
	}
	s.last = t
	return t, nil
}

// find asks the flag, then the surroundings, then a person.
func (s *tokenSource) find(ctx context.Context) (string, error) {
	if s.flags.token != "" {
		return s.env.tokenFrom("--identity-token", s.flags.token)
	}
	if s.flags.flow == "" {
		token, from, err := remote.Ambient{Getenv: s.env.getenv}.Token(ctx, s.client)
		if err != nil {
			return "", fmt.Errorf("identity token from %s: %w", from, err)
		}
		if token != "" {
			return token, nil
		}
	}
	return s.login(ctx)
}

// tokenFrom reads an identity token that an argument is, or says the place of. What
// names the argument.
func (e *env) tokenFrom(what, arg string) (string, error) {
	switch {
	case arg == "-":
		return remote.ReadToken(e.stdin, "standard input")
	case looksLikeToken(arg):
		return arg, nil
	}
	path := strings.TrimPrefix(arg, "@")
	f, err := openInput(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// The argument may be a token gone wrong, which is a secret: not shown.
		return "", &usageError{
			msg:  what + " is neither a token nor the name of a file",
			hint: "give the token (three parts with points between), a file, or - for standard input",
		}
	case err != nil:
		return "", ioError(err)
	}
	defer func() { _ = f.Close() }() // only read
	return remote.ReadToken(f, path)
}

// looksLikeToken reports whether s has the shape of a JWT.
func looksLikeToken(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || !strings.HasPrefix(s, "eyJ") { // base64url of {"
		return false
	}
	_, err := base64.RawURLEncoding.DecodeString(parts[1])
	return err == nil
}

// login asks a person, or the provider when the flags say so.
func (s *tokenSource) login(ctx context.Context) (string, error) {
	l := remote.Login{Issuer: s.flags.issuer, ClientID: s.flags.clientID, Open: s.env.open, Tell: s.env.tellLogin}
	if l.Issuer == "" {
		l.Issuer = s.issuer
	}
	if l.Issuer == "" {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "no identity token, and the instance names no OpenID provider to get one from").
			WithHint("pass --identity-token or --oidc-issuer")
	}
	if s.flags.secretFile != "" {
		secret, err := readFile(s.flags.secretFile, 4<<10)
		if err != nil {
			return "", err
		}
		l.ClientSecret = strings.TrimSpace(string(secret))
	}
	flow, err := s.flow()
	if err != nil {
		return "", err
	}
	switch flow {
	case "device":
		return s.client.Device(ctx, l)
	case "client_credentials":
		return s.client.ClientCredentials(ctx, l)
	}
	return s.client.Browser(ctx, l)
}

// flow chooses how to log in.
func (s *tokenSource) flow() (string, error) {
	switch s.flags.flow {
	case "normal", "device", "client_credentials":
		return s.flags.flow, nil
	case "":
	default:
		return "", usage("--fulcio-auth-flow: expected normal, device or client_credentials, found %q", s.flags.flow)
	}
	switch {
	case s.env.interactive() && s.env.hasBrowser():
		return "normal", nil
	case s.env.getenv("CI") != "" && !s.env.interactive():
		return "", sigbox.Errorf(sigbox.Unauthenticated, "no identity token, and nobody to log in: this is a CI job").
			WithHint("have the CI system hand out a token for the audience \"sigstore\" in SIGSTORE_ID_TOKEN, or pass --identity-token")
	}
	return "device", nil
}

// tellLogin shows a person where to log in.
func (e *env) tellLogin(p remote.Prompt) {
	if p.Code == "" {
		e.note("Log in with your browser. If none opens, go to:")
		e.note("  %s", p.URL)
		return
	}
	e.note("To log in, open this page in a browser on any machine:")
	e.note("  %s", p.URL)
	e.note("and confirm that it shows this code: %s", p.Code)
	if !p.Expires.IsZero() {
		e.note("It is good for %s.", count(int(p.Expires.Sub(e.now()).Round(time.Minute)/time.Minute), "minute", "minutes"))
	}
}
