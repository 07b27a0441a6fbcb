package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/sigbox/sigbox"
)

const (
	// maxTokenFile bounds a token from a file in bytes.
	maxTokenFile = 64 << 10
	// defaultTokenFile is where a token is mounted into a Kubernetes pod.
	defaultTokenFile = "/var/run/sigstore/cosign/oidc-token"
	buildkiteURL     = "https://agent.buildkite.com/v3"
)

// Ambient finds the identity token that the surroundings offer: the environment
// variable of Sigstore's clients, a CI system, a cloud, a mounted file.
//
// SPIFFE's workload API is not among them: it speaks gRPC on a socket. A SPIFFE
// token reaches sigbox by file or environment.
type Ambient struct {
	// Getenv reads the environment; nil is os.Getenv.
	Getenv func(string) string
	// Audience of the token that is asked for; "" is "sigstore".
	Audience string
	// TokenFile is where a mounted token lies; "" is Kubernetes' usual place.
	TokenFile string
}

// source is one place that tokens come from. It answers "" when it is not here.
type source func(context.Context, *Client, Ambient) (string, error)

// Token asks each place in turn and gives the first token, with the name of the
// place; all are empty when there is none. A place that is there but does not
// give a token is an error: to go on silently would sign as somebody else.
func (a Ambient) Token(ctx context.Context, c *Client) (token, from string, err error) {
	if a.Getenv == nil {
		a.Getenv = os.Getenv
	}
	if a.Audience == "" {
		a.Audience = defaultClientID
	}
	if a.TokenFile == "" {
		a.TokenFile = defaultTokenFile
	}
	for _, place := range []struct {
		name string
		get  source
	}{
		{"SIGSTORE_ID_TOKEN", environmentToken},
		{"GitHub Actions", githubToken},
		{"GitLab CI", gitlabToken},
		{"Buildkite", buildkiteToken},
		{"Google Cloud", googleToken},
		{a.TokenFile, fileToken},
	} {
		token, err := place.get(ctx, c, a)
		if err != nil {
			return "", place.name, err
		}
		if token != "" {
			return strings.TrimSpace(token), place.name, nil
		}
	}
	return "", "", nil
}

func environmentToken(_ context.Context, _ *Client, a Ambient) (string, error) {
	return a.Getenv("SIGSTORE_ID_TOKEN"), nil
}

// githubToken asks GitHub Actions.
// https://docs.github.com/en/actions/reference/security/oidc
func githubToken(ctx context.Context, c *Client, a Ambient) (string, error) {
	endpoint, bearer := a.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL"), a.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	if endpoint == "" || bearer == "" {
		if a.Getenv("GITHUB_ACTIONS") != "" {
			return "", sigbox.Errorf(sigbox.Unauthenticated, "this GitHub Actions job may not ask for an identity token").
				WithHint("give the job the permission \"id-token: write\"")
		}
		return "", nil
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", sigbox.Errorf(sigbox.Invalid, "ACTIONS_ID_TOKEN_REQUEST_URL is no URL").WithCause(err)
	}
	q := u.Query()
	q.Set("audience", a.Audience)
	u.RawQuery = q.Encode()
	var answer struct {
		Value string `json:"value"`
	}
	err = c.askToken(ctx, request{
		service: "GitHub's token service", method: http.MethodGet, url: u.String(),
		header: http.Header{"Authorization": {"Bearer " + bearer}},
	}, &answer, &answer.Value)
	return answer.Value, err
}

// gitlabToken knows that GitLab hands tokens over in the environment, which has
// been looked at.
func gitlabToken(_ context.Context, _ *Client, a Ambient) (string, error) {
	if a.Getenv("GITLAB_CI") == "" {
		return "", nil
	}
	return "", sigbox.Errorf(sigbox.Unauthenticated, "this GitLab job has no identity token in SIGSTORE_ID_TOKEN").
		WithHint("add to the job: id_tokens: {SIGSTORE_ID_TOKEN: {aud: %s}}", a.Audience)
}

// buildkiteToken asks the agent API of Buildkite.
// https://buildkite.com/docs/agent/cli/reference/oidc
func buildkiteToken(ctx context.Context, c *Client, a Ambient) (string, error) {
	bearer, job := a.Getenv("BUILDKITE_AGENT_ACCESS_TOKEN"), a.Getenv("BUILDKITE_JOB_ID")
	if bearer == "" || job == "" {
		return "", nil
	}
	endpoint := a.Getenv("BUILDKITE_AGENT_ENDPOINT")
	if endpoint == "" {
		endpoint = buildkiteURL
	}
	body, err := encodeJSON(map[string]string{"audience": a.Audience})
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"token"`
	}
	err = c.askToken(ctx, request{
		service: "Buildkite's token service", method: http.MethodPost,
		url:         join(endpoint, "/jobs/"+url.PathEscape(job)+"/oidc/tokens"),
		contentType: "application/json", body: body,
		header: http.Header{"Authorization": {"Token " + bearer}},
	}, &answer, &answer.Token)
	return answer.Token, err
}

// googleToken asks the metadata server of Google Cloud, when the environment
// names it: to look for one by itself costs seconds everywhere else. That server
// speaks plain http and is on the machine's own link.
// https://cloud.google.com/compute/docs/instances/verifying-instance-identity
func googleToken(ctx context.Context, c *Client, a Ambient) (string, error) {
	host := a.Getenv("GCE_METADATA_HOST")
	if host == "" {
		return "", nil
	}
	q := url.Values{"audience": {a.Audience}, "format": {"full"}}
	r := request{
		service: "Google's metadata server", method: http.MethodGet, limit: maxTokenFile,
		url:    "http://" + host + "/computeMetadata/v1/instance/service-accounts/default/identity?" + q.Encode(),
		header: http.Header{"Metadata-Flavor": {"Google"}},
	}
	resp, err := c.expect(ctx, r, http.StatusOK)
	if err == nil && len(bytes.TrimSpace(resp.body)) == 0 {
		err = badAnswer(r, "an identity token")
	}
	return string(resp.body), err
}

// fileToken reads a mounted token.
func fileToken(_ context.Context, _ *Client, a Ambient) (string, error) {
	token, err := readTokenFile(a.TokenFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return token, err
}

// readTokenFile reads an identity token from a file. The error wraps
// [fs.ErrNotExist] when there is no such file.
func readTokenFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "cannot read the identity token's file: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	return ReadToken(f, path)
}

// ReadToken reads an identity token from r; name is for messages.
func ReadToken(r io.Reader, name string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxTokenFile+1))
	if err != nil {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "cannot read the identity token from %s: %w", name, err)
	}
	token := strings.TrimSpace(string(b))
	if len(b) > maxTokenFile || token == "" {
		return "", sigbox.Mismatch(sigbox.Unauthenticated, "no identity token in "+name, "1 to 65536 bytes", len(b))
	}
	return token, nil
}

// askToken sends r and reads a JSON answer, in which token must not be empty.
func (c *Client) askToken(ctx context.Context, r request, answer any, token *string) error {
	r.limit, r.secret = maxTokenFile, true
	resp, err := c.expect(ctx, r, http.StatusOK, http.StatusCreated)
	if err != nil {
		return err
	}
	if err := decodeJSON(resp.body, answer); err != nil {
		return badAnswer(r, "an identity token").WithCause(err)
	}
	if strings.TrimSpace(*token) == "" {
		return badAnswer(r, "an identity token")
	}
	return nil
}
