package interop

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// claims are an identity token's.
type claims map[string]any

// identity is one that a client gets from an OpenID provider of some type.
type identity struct {
	name     string // as the table has it, and in its issuer's URL
	settings string // the issuer's in config.yaml, besides the URL
	claims   claims // as the provider's documentation has them; times, aud and iss come on top
	subject  string // what the certificate is to say
}

// identities are of each type of issuer that the CA takes. The claims are those that the
// providers document:
//
//   - Google: developers.google.com/identity/openid-connect
//   - SPIFFE: the JWT-SVID specification, §3
//   - Kubernetes: "Service account tokens" of its documentation
//   - GitHub: docs.github.com, "OpenID Connect reference"
//   - GitLab: docs.gitlab.com, "ID token authentication"
//   - Buildkite: buildkite.com/docs/agent/cli/reference/oidc
//   - Codefresh: codefresh.io/docs/docs/integrations/oidc-pipelines
//   - CircleCI: circleci.com/docs/openid-connect-tokens
//   - Buddy: buddy.works/docs/integrations/oidc
func identities(provider string) []identity {
	return []identity{
		{"email", "type: email", claims{
			"sub": "110169484474386276334", "email": email, "email_verified": true, "hd": "example.com", "azp": "sigstore", "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "nonce": "0394852-3190485-2490358",
		}, email},
		{"uri", "type: uri\n    subject-domain: " + provider, claims{"sub": provider + "/builds/app"}, provider + "/builds/app"},
		{"username", "type: username\n    subject-domain: localhost", claims{"sub": "alice"}, "alice!localhost"},
		{"spiffe", "type: spiffe\n    spiffe-trust-domain: example.org", claims{
			"sub": "spiffe://example.org/ns/prod/sa/builder", "aud": []string{"sigstore"},
		}, "spiffe://example.org/ns/prod/sa/builder"},
		{"kubernetes", "type: kubernetes", claims{
			"sub": "system:serviceaccount:prod:builder", "aud": []string{"sigstore"}, "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a",
			"kubernetes.io": claims{
				"namespace": "prod", "node": claims{"name": "127.0.0.1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced"},
				"pod":            claims{"name": "build-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33"},
				"serviceaccount": claims{"name": "builder", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af"}, "warnafter": time.Now().Add(time.Minute).Unix(),
			},
		}, "https://kubernetes.io/namespaces/prod/serviceaccounts/builder"},
		{"github-workflow", ci("github-workflow"), claims{
			"jti": "a2cf1b5d-8d9a-4c1f-b19c-0a4fdd7ac1c0", "sub": "repo:octo-org/octo-repo:environment:prod", "environment": "prod", "ref": "refs/heads/main",
			"sha": "f32b0fa25c9cd1d4b9ba7e4d1e3a4e5e6b0b9f6a", "repository": "octo-org/octo-repo", "repository_owner": "octo-org", "actor_id": "12",
			"repository_visibility": "private", "repository_id": "74", "repository_owner_id": "65", "run_id": "4503599627", "run_number": "10", "run_attempt": "2",
			"runner_environment": "github-hosted", "actor": "octocat", "workflow": "example-workflow", "head_ref": "", "base_ref": "", "event_name": "workflow_dispatch",
			"ref_type": "branch", "ref_protected": "true", "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
			"job_workflow_sha": "5c7a2b1f0d3e4c5b6a79880f1e2d3c4b5a697887", "workflow_ref": "octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main",
			"workflow_sha": "f32b0fa25c9cd1d4b9ba7e4d1e3a4e5e6b0b9f6a",
		}, "https://github.com/octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main"},
		{"gitlab-pipeline", ci("gitlab-pipeline"), claims{
			"jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b", "sub": "project_path:my-group/my-project:ref_type:branch:ref:feature-branch-1",
			"namespace_id": "72", "namespace_path": "my-group", "project_id": "20", "project_path": "my-group/my-project", "user_id": "1", "user_login": "sample-user",
			"user_email": "sample-user@example.com", "user_access_level": "developer", "pipeline_id": "574", "pipeline_source": "push", "job_id": "302",
			"ref": "feature-branch-1", "ref_type": "branch", "ref_path": "refs/heads/feature-branch-1", "ref_protected": "false",
			"groups_direct": []string{"mygroup/mysubgroup", "myothergroup/myothersubgroup"}, "environment": "test-environment2", "environment_protected": "false",
			"deployment_tier": "testing", "environment_action": "start", "runner_id": 1, "runner_environment": "self-hosted",
			"sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "project_visibility": "public",
			"ci_config_ref_uri": "gitlab.example.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
		}, "https://gitlab.example.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main"},
		{"buildkite-job", ci("buildkite-job"), claims{
			"sub":               "organization:acme-inc:pipeline:super-duper-app:ref:refs/heads/main:commit:9f3182061f1e2cca4702c368cbc039b7dc9d4485:step:build",
			"organization_slug": "acme-inc", "pipeline_slug": "super-duper-app", "build_number": 1, "build_branch": "main", "build_tag": "v1.0.0",
			"build_commit": "9f3182061f1e2cca4702c368cbc039b7dc9d4485", "build_source": "ui", "step_key": "build", "job_id": "0184990a-477b-4fa8-9968-496074483cee",
			"agent_id": "0184990a-4782-42b5-afc1-16715b10b8ff", "runner_environment": "buildkite-hosted",
		}, "https://buildkite.com/acme-inc/super-duper-app"},
		{"codefresh-workflow", ci("codefresh-workflow"), claims{
			"sub":        "account:628a80b693a15c0f9c13ab75:pipeline:64f84ff9bb1b1b4f1bb5c0a2:scm_repo_url:https://github.com/acme/app:scm_user_name:octocat:scm_ref:main",
			"account_id": "628a80b693a15c0f9c13ab75", "account_name": "acme", "pipeline_id": "64f84ff9bb1b1b4f1bb5c0a2", "pipeline_name": "app/build",
			"workflow_id": "64f850c8d5a1f2c0b7d4e6f1", "initiator": "octocat", "scm_user_name": "octocat", "scm_repo_url": "https://github.com/acme/app", "scm_ref": "main",
			"runner_environment": "hybrid", "platform_url": "https://g.codefresh.io",
		}, "https://g.codefresh.io/acme/app/build:628a80b693a15c0f9c13ab75/64f84ff9bb1b1b4f1bb5c0a2"},
		{"circleci-job", ci("circleci-job"), claims{
			"sub":                                      "org/4f5b1a0c-7a4f-4b65-9e9d-0d6a2f0b9c11/project/a1b2c3d4-e5f6-7890-abcd-ef1234567890/user/0d2d5b1e-6a52-4a3e-8a3f-3c2b1a0f9e8d",
			"oidc.circleci.com/org-id":                 "4f5b1a0c-7a4f-4b65-9e9d-0d6a2f0b9c11",
			"oidc.circleci.com/project-id":             "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
			"oidc.circleci.com/pipeline-id":            "7c6b5a49-3827-4615-8f0e-1d2c3b4a5968",
			"oidc.circleci.com/workflow-id":            "2f1e0d3c-4b5a-4697-8788-96a5b4c3d2e1",
			"oidc.circleci.com/job-id":                 "9e8d7c6b-5a49-4382-9716-05f4e3d2c1b0",
			"oidc.circleci.com/context-ids":            []string{"b0a19283-7465-4564-8738-291a0b1c2d3e"},
			"oidc.circleci.com/vcs-origin":             "github.com/acme/app",
			"oidc.circleci.com/vcs-ref":                "refs/heads/main",
			"oidc.circleci.com/ssh-rerun":              false,
			"oidc.circleci.com/pipeline-definition-id": "c3d4e5f6-a7b8-4901-acde-f12345678901",
		}, "https://circleci.com/api/v2/projects/a1b2c3d4-e5f6-7890-abcd-ef1234567890/pipeline-definitions/c3d4e5f6-a7b8-4901-acde-f12345678901"},
		{"buddy-pipeline", ci("buddy-pipeline"), claims{
			"sub": "pipeline:my-workspace:my-project:42", "workspace_id": 1, "workspace_domain": "my-workspace", "project_name": "my-project", "pipeline_id": 42,
			"pipeline_name": "release", "execution_id": "64f5a1b2c3d4e5f6a7b8c9d0", "triggered_on": "EVENT", "runner_environment": "buddy-hosted",
			"revision": "714a629c0b401fdce83e847fc9589983fc6f46bc", "ref": "refs/heads/main",
		}, "https://app.buddy.works/my-workspace/my-project/pipelines/pipeline/42"},
	}
}

func ci(provider string) string { return "type: ci-provider\n    ci-provider: " + provider }

// provider is an OpenID provider with an issuer for each identity.
type provider struct {
	url        string
	signer     jose.Signer
	identities []identity
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{signer: signer}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.url = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	p.identities = identities(p.url)
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /{issuer}/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{
			"issuer": p.url + "/" + r.PathValue("issuer"), "jwks_uri": p.url + "/keys",
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	return p
}

func (p *provider) issuer(id identity) string { return p.url + "/" + id.name }

// token makes an identity token that is good for ten minutes.
func (p *provider) token(t *testing.T, id identity) string {
	t.Helper()
	now := time.Now()
	all := claims{"iss": p.issuer(id), "aud": "sigstore", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix()}
	maps.Copy(all, id.claims)
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := p.signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// config writes settings that list all issuers.
func (p *provider) config(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("issuers:\n")
	for _, id := range p.identities {
		fmt.Fprintf(&b, "  - url: %s\n    %s\n", p.issuer(id), id.settings)
	}
	return write(t, filepath.Join(t.TempDir(), "config.yaml"), b.String())
}

// unverified says why a client does not verify certificates of an identity, "" if it does.
func unverified(client, identity string) string {
	if identity != "username" {
		return ""
	}
	switch client {
	case "sigstore-js":
		return "it compares addresses and URIs alone (`subjectAltName` in `@sigstore/core`'s `x509/cert.js`)"
	case "sigstore-python":
		return "it compares the name with tag and length of its DER before it (`Identity` in `verify/policy.py`)"
	case "sigstore-java":
		return "it takes addresses and URIs alone (`FulcioCertificateMatcher`)"
	}
	return ""
}

// TestIssuers has every client sign with an identity of each type of issuer, and verify
// what sigbox signed with it.
func TestIssuers(t *testing.T) {
	p := newProvider(t)
	in := serveTLS(t, "--config", p.config(t))
	all := clients(t, in)
	for _, c := range all {
		if err := c.trust(in); err != nil {
			t.Fatalf("%s does not trust the instance: %v", c.name(), err)
		}
	}
	r := &issuersRun{in: in, provider: p, sigbox: all[0], dir: t.TempDir()}
	r.file = write(t, filepath.Join(r.dir, "artifact"), "a release\n")
	// Every client knows the log of Rekor v1.
	signer := r.sigbox.(v1Client).v1(in.v1Config(t, filepath.Join(r.dir, "signing_config.json")))
	var b, notes strings.Builder
	b.WriteString("| identity |")
	for _, c := range all {
		fmt.Fprintf(&b, " %s |", c.name())
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	for _, id := range p.identities {
		reference := filepath.Join(r.dir, "reference."+id.name)
		if err := signer.sign(in, p.token(t, id), r.file, reference); err != nil {
			t.Fatalf("%s: sigbox does not sign: %v", id.name, err)
		}
		fmt.Fprintf(&b, "| %s |", id.name)
		for _, c := range all {
			var cell []string
			t.Run(id.name+" by "+c.name(), func(t *testing.T) { cell = r.cell(t, c, id, reference) })
			fmt.Fprintf(&b, " %s |", mark(cell, "signs", "verifies"))
			if why := unverified(c.name(), id.name); why != "" {
				fmt.Fprintf(&notes, "\n%s does not verify the identity %s: %s.\n", c.name(), id.name, why)
			}
		}
		b.WriteString("\n")
	}
	checkTable(t, filepath.Join("..", "docs", "clients.md"), "identities", b.String()+notes.String())
}

// issuersRun is what the cells of the table have in common.
type issuersRun struct {
	in        *instance
	provider  *provider
	sigbox    client
	dir, file string
}

// cell has a client sign with an identity, and verify reference, which is signed with it.
// It gives what the client does.
func (r *issuersRun) cell(t *testing.T, c client, id identity, reference string) (does []string) {
	issuer := r.provider.issuer(id)
	bundle := filepath.Join(r.dir, c.name()+"."+id.name)
	if err := c.sign(r.in, r.provider.token(t, id), r.file, bundle); err != nil {
		t.Errorf("does not sign: %v", err)
	} else if err := r.sigbox.verify(r.in, r.file, bundle, id.subject, issuer); err != nil {
		t.Errorf("sigbox refuses what it signed: %v", err)
	} else {
		does = append(does, "signs")
	}
	err := c.verify(r.in, r.file, reference, id.subject, issuer)
	if why := unverified(c.name(), id.name); why != "" {
		if !refused(err) {
			t.Errorf("it is said that %s, and yet: %v", why, err)
		}
		return does
	}
	if err != nil {
		t.Errorf("does not verify: %v", err)
		return does
	}
	for what, err := range map[string]error{
		"another identity": c.verify(r.in, r.file, reference, id.subject+"x", issuer),
		"another issuer":   c.verify(r.in, r.file, reference, id.subject, r.provider.url),
	} {
		if !refused(err) {
			t.Errorf("with %s: want a refusal, got %v", what, err)
			return does
		}
	}
	return append(does, "verifies")
}
