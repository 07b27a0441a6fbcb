package ca_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/wire/cert"
)

func TestIssuersRefused(t *testing.T) {
	i := newInstance(t)
	const url = "https://issuer.example.com"
	for name, tc := range map[string]struct {
		issuer ca.Issuer
		about  string
	}{
		"no URL":                    {ca.Issuer{Type: ca.Email}, "url"},
		"no scheme":                 {ca.Issuer{URL: "issuer.example.com", Type: ca.Email}, "url"},
		"query":                     {ca.Issuer{URL: url + "?x", Type: ca.Email}, "url"},
		"empty fragment":            {ca.Issuer{URL: url + "#", Type: ca.Email}, "url"},
		"password":                  {ca.Issuer{URL: "https://a:b@issuer.example.com", Type: ca.Email}, "url"},
		"http":                      {ca.Issuer{URL: "http://issuer.example.com", Type: ca.Email}, "https"},
		"ftp":                       {ca.Issuer{URL: "ftp://127.0.0.1", Type: ca.Email}, "https"},
		"http pattern":              {ca.Issuer{URL: "http://*.internal.example.com", Type: ca.Email, AllowPrivate: true}, "https"},
		"no type":                   {ca.Issuer{URL: url}, "type"},
		"unknown type":              {ca.Issuer{URL: url, Type: "mail"}, "type"},
		"pattern of everything":     {ca.Issuer{URL: "https://*", Type: ca.Email}, "last two labels"},
		"pattern of a whole domain": {ca.Issuer{URL: "https://*.com", Type: ca.Email}, "last two labels"},
		"pattern in the domain":     {ca.Issuer{URL: "https://a.exam*.com", Type: ca.Email}, "last two labels"},
		"issuer claim of text":      {ca.Issuer{URL: url, Type: ca.Email, IssuerClaim: "federated"}, "issuer-claim"},
		"issuer claim, empty name":  {ca.Issuer{URL: url, Type: ca.Email, IssuerClaim: "$.a..b"}, "issuer-claim"},
		"issuer claim of another":   {ca.Issuer{URL: url, Type: ca.Kubernetes, IssuerClaim: "$.a"}, "issuer-claim"},
		"provider of another":       {ca.Issuer{URL: url, Type: ca.Email, Provider: "github-workflow"}, "ci-provider"},
		"domain of another":         {ca.Issuer{URL: url, Type: ca.Email, SubjectDomain: "example.com"}, "subject-domain"},
		"trust domain of another":   {ca.Issuer{URL: url, Type: ca.Email, TrustDomain: "example.com"}, "spiffe-trust-domain"},
		"unknown provider":          {ca.Issuer{URL: url, Type: ca.CIProvider, Provider: "nobody"}, "nobody"},
		"no provider":               {ca.Issuer{URL: url, Type: ca.CIProvider}, "no templates"},
		"no trust domain":           {ca.Issuer{URL: url, Type: ca.SPIFFE}, "trust-domain"},
		"trust domain as URL":       {ca.Issuer{URL: url, Type: ca.SPIFFE, TrustDomain: "spiffe://example.com"}, "trust-domain"},
		"spiffe by pattern":         {ca.Issuer{URL: "https://*.example.com", Type: ca.SPIFFE, TrustDomain: "example.com"}, "takes no *"},
		"no user domain":            {ca.Issuer{URL: url, Type: ca.Username}, "subject-domain"},
		"user domain as URL":        {ca.Issuer{URL: url, Type: ca.Username, SubjectDomain: "https://example.com"}, "subject-domain"},
		"user domain of others":     {ca.Issuer{URL: url, Type: ca.Username, SubjectDomain: "example.org"}, "differ"},
		"users by pattern":          {ca.Issuer{URL: "https://*.example.com", Type: ca.Username, SubjectDomain: "example.com"}, "takes no *"},
		"no URI domain":             {ca.Issuer{URL: url, Type: ca.URI}, "subject-domain"},
		"URI domain without scheme": {ca.Issuer{URL: url, Type: ca.URI, SubjectDomain: "example.com"}, "subject-domain"},
		"URI domain of http":        {ca.Issuer{URL: url, Type: ca.URI, SubjectDomain: "http://example.com"}, "subject-domain"},
		"URI domain with a path":    {ca.Issuer{URL: url, Type: ca.URI, SubjectDomain: "https://example.com/a"}, "subject-domain"},
		"URI domain of others":      {ca.Issuer{URL: url, Type: ca.URI, SubjectDomain: "https://example.org"}, "differ"},
		"in a cluster, by mail":     {ca.Issuer{URL: url, Type: ca.Email, InCluster: true}, "in-cluster"},
		"in-cluster in the clear":   {ca.Issuer{URL: "http://10.0.0.1", Type: ca.Kubernetes, InCluster: true}, "https"},
		"in many clusters":          {ca.Issuer{URL: "https://*.example.com", Type: ca.Kubernetes, InCluster: true}, "one cluster"},
		"in-cluster with a file":    {ca.Issuer{URL: url, Type: ca.Kubernetes, InCluster: true, CAFile: "/ca.pem"}, "one cluster"},
		"relative file":             {ca.Issuer{URL: url, Type: ca.Kubernetes, CAFile: "ca.pem"}, "absolute"},
		"file without TLS":          {ca.Issuer{URL: "http://127.0.0.1", Type: ca.Kubernetes, CAFile: "/ca.pem"}, "https"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, i.SetIssuers([]ca.Issuer{tc.issuer}, nil), sigbox.Invalid, tc.about)
		})
	}
	twice := ca.Issuer{URL: url, Type: ca.Email}
	refused(t, i.SetIssuers([]ca.Issuer{twice, twice}, nil), sigbox.Invalid, "twice")
	// What cannot be used changes nothing.
	if got := i.Issuers(); len(got) != 1 || got[0].URL != url {
		t.Errorf("found %+v", got)
	}
}

func TestIssuersAccepted(t *testing.T) {
	i := newInstance(t)
	err := i.SetIssuers([]ca.Issuer{
		{URL: "https://issuer.example.com", Type: ca.Email},
		{URL: "http://127.0.0.1:8080/oidc", Type: ca.Email},
		{URL: "http://localhost:8080/oidc", Type: ca.Email},
		{URL: "https://10.0.0.7/realms/a", Type: ca.Email},
		{URL: "http://keycloak.internal", Type: ca.Email, AllowPrivate: true, Audience: "other"},
		{URL: "https://accounts.example.com", Type: ca.Username, SubjectDomain: "users.example.com"},
		{URL: "https://login.example.com", Type: ca.URI, SubjectDomain: "https://login.example.com/"},
		{URL: "https://*.oic.prod-aks.azure.com/*/*/", Type: ca.Kubernetes},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var private []string
	for _, s := range i.Issuers() {
		if s.AllowPrivate {
			private = append(private, s.URL)
		}
		if s.Audience != "sigstore" && s.Audience != "other" {
			t.Errorf("%s: audience %q", s.URL, s.Audience)
		}
	}
	if diff := cmp.Diff([]string{"http://127.0.0.1:8080/oidc", "http://localhost:8080/oidc", "https://10.0.0.7/realms/a", "http://keycloak.internal"}, private); diff != "" {
		t.Error(diff)
	}
}

// TestIssuersChangeAtOnce: a change of the configuration needs no restart.
func TestIssuersChangeAtOnce(t *testing.T) {
	i := newInstance(t)
	token := i.idp.token(t, alice())
	if err := i.issueWith(t, token); err != nil {
		t.Fatal(err)
	}
	if err := i.SetIssuers(nil, nil); err != nil {
		t.Fatal(err)
	}
	refused(t, i.issueWith(t, token), sigbox.Unauthenticated, "not accepted here")
}

// TestExactBeforePattern: an issuer that is written out is not one of a pattern.
func TestExactBeforePattern(t *testing.T) {
	i := newInstance(t,
		ca.Issuer{URL: "https://*.example.com", Type: ca.Kubernetes},
		ca.Issuer{URL: "https://issuer.example.com", Type: ca.Email},
	)
	if err := i.issueWith(t, i.idp.token(t, alice())); err != nil {
		t.Error(err)
	}
}

func TestRefusedPrincipals(t *testing.T) {
	const iss = "https://issuer.example.com"
	for name, tc := range map[string]struct {
		issuer ca.Issuer
		claims object
		about  string
	}{
		"uri of another host":      {ca.Issuer{Type: ca.URI, SubjectDomain: "https://example.com"}, object{"sub": "https://evil.com/example.com"}, "expected a URI of https://example.com"},
		"uri of a subdomain":       {ca.Issuer{Type: ca.URI, SubjectDomain: "https://example.com"}, object{"sub": "https://a.example.com/"}, "expected a URI"},
		"uri of another scheme":    {ca.Issuer{Type: ca.URI, SubjectDomain: "https://example.com"}, object{"sub": "http://example.com/"}, "expected a URI"},
		"uri with another port":    {ca.Issuer{Type: ca.URI, SubjectDomain: "https://example.com"}, object{"sub": "https://example.com:8443/"}, "expected a URI"},
		"uri with a user":          {ca.Issuer{Type: ca.URI, SubjectDomain: "https://example.com"}, object{"sub": "https://evil.com@example.com/"}, "expected a URI"},
		"uri with a backslash":     {ca.Issuer{Type: ca.URI, SubjectDomain: "https://example.com"}, object{"sub": `https://example.com/\evil.com`}, "expected a URI"},
		"email as uri":             {ca.Issuer{Type: ca.URI, SubjectDomain: "https://example.com"}, object{"sub": "alice@example.com"}, "expected a URI"},
		"other trust domain":       {ca.Issuer{Type: ca.SPIFFE, TrustDomain: "example.com"}, object{"sub": "spiffe://evil.com/x"}, "another trust domain"},
		"trust domain below":       {ca.Issuer{Type: ca.SPIFFE, TrustDomain: "example.com"}, object{"sub": "spiffe://a.example.com/x"}, "another trust domain"},
		"spiffe with dots":         {ca.Issuer{Type: ca.SPIFFE, TrustDomain: "example.com"}, object{"sub": "spiffe://example.com/../x"}, "no SPIFFE ID"},
		"spiffe with a query":      {ca.Issuer{Type: ca.SPIFFE, TrustDomain: "example.com"}, object{"sub": "spiffe://example.com/x?y"}, "no SPIFFE ID"},
		"spiffe with a port":       {ca.Issuer{Type: ca.SPIFFE, TrustDomain: "example.com"}, object{"sub": "spiffe://example.com:1/x"}, "no SPIFFE ID"},
		"spiffe with a slash":      {ca.Issuer{Type: ca.SPIFFE, TrustDomain: "example.com"}, object{"sub": "spiffe://example.com/"}, "no SPIFFE ID"},
		"no spiffe at all":         {ca.Issuer{Type: ca.SPIFFE, TrustDomain: "example.com"}, object{"sub": "https://example.com/x"}, "no SPIFFE ID"},
		"user with a !":            {ca.Issuer{Type: ca.Username, SubjectDomain: "example.com"}, object{"sub": "root!evil.com"}, "no user name"},
		"user with an @":           {ca.Issuer{Type: ca.Username, SubjectDomain: "example.com"}, object{"sub": "a@b.c"}, "no user name"},
		"user with a line":         {ca.Issuer{Type: ca.Username, SubjectDomain: "example.com"}, object{"sub": "a\nb"}, "control characters"},
		"no service account":       {ca.Issuer{Type: ca.Kubernetes}, object{"kubernetes.io": object{"namespace": "a"}}, `"kubernetes.io . serviceaccount . name"`},
		"no namespace":             {ca.Issuer{Type: ca.Kubernetes}, object{"kubernetes.io": object{}}, `"kubernetes.io . namespace"`},
		"nothing of Kubernetes":    {ca.Issuer{Type: ca.Kubernetes}, object{}, `"kubernetes.io . namespace"`},
		"Kubernetes of text":       {ca.Issuer{Type: ca.Kubernetes}, object{"kubernetes.io": "x"}, `"kubernetes.io . namespace"`},
		"path in the namespace":    {ca.Issuer{Type: ca.Kubernetes}, object{"kubernetes.io": object{"namespace": "a/serviceaccounts/b", "serviceaccount": object{"name": "c"}}}, "no service account"},
		"no federated issuer":      {ca.Issuer{Type: ca.Email, IssuerClaim: "$.federated_claims.connector_id"}, alice(), "federated_claims"},
		"federated issuer, number": {ca.Issuer{Type: ca.Email, IssuerClaim: "$.federated"}, with("federated", 1), "wrong type"},
		"build without a claim":    {ca.Issuer{Type: ca.CIProvider, Provider: "github-workflow"}, object{}, `no claim "job_workflow_ref"`},
	} {
		t.Run(name, func(t *testing.T) {
			tc.issuer.URL = iss
			i := newInstance(t, tc.issuer)
			_, err := i.Issue(t.Context(), request(t, i.idp.token(t, tc.claims), "x"))
			if err == nil || !contains(err.Error(), tc.about) {
				// With a proof that cannot verify: the claims come first, but for what
				// only the certificate shows.
				sub, _ := tc.claims["sub"].(string)
				_, err = i.Issue(t.Context(), request(t, i.idp.token(t, tc.claims), sub))
			}
			refused(t, err, sigbox.Unauthenticated, tc.about)
		})
	}
}

// ciTokens are claims as the documentation of each provider shows them.
func ciTokens() map[string]object {
	return map[string]object{
		"github-workflow": {
			"event_name": "push", "sha": "f1e2", "workflow": "Release", "repository": "octo/hello", "ref": "refs/tags/v1",
			"job_workflow_ref": "octo/hello/.github/workflows/release.yml@refs/tags/v1", "job_workflow_sha": "a1b2",
			"runner_environment": "github-hosted", "repository_id": "123", "repository_owner": "octo", "repository_owner_id": "7",
			"workflow_ref": "octo/hello/.github/workflows/main.yml@refs/tags/v1", "workflow_sha": "c3d4", "run_id": "99", "run_attempt": "2",
			"repository_visibility": "public", "environment": "prod",
		},
		"gitlab-pipeline": {
			"ci_config_ref_uri": "gitlab.com/acme/web//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": "a1", "runner_environment": "gitlab-hosted",
			"project_path": "acme/web", "sha": "f1", "ref_type": "branch", "ref": "main", "project_id": "1", "namespace_path": "acme",
			"namespace_id": "2", "pipeline_source": "push", "job_id": "3", "project_visibility": "private",
		},
		"codefresh-workflow": {
			"account_name": "acme", "account_id": "a1", "pipeline_name": "web/build", "pipeline_id": "p1", "workflow_id": "w1",
			"scm_repo_url": "https://github.com/acme/web", "scm_ref": "main",
		},
		"circleci-job": {
			"oidc.circleci.com/project-id": "p1", "oidc.circleci.com/pipeline-definition-id": "d1", "oidc.circleci.com/pipeline-id": "l1",
			"oidc.circleci.com/workflow-id": "w1", "oidc.circleci.com/job-id": "j1", "oidc.circleci.com/ssh-rerun": true,
			"oidc.circleci.com/vcs-ref": "refs/heads/main", "oidc.circleci.com/vcs-origin": "github.com/acme/web",
		},
		"buddy-pipeline": {
			"workspace_domain": "acme", "project_name": "web", "pipeline_id": 42, "execution_id": "e1", "triggered_on": "click",
			"runner_environment": "buddy-hosted", "base_url": "https://eu.buddy.works", "revision": "f1", "ref": "refs/heads/main",
		},
		"buildkite-job": {
			"organization_slug": "acme", "pipeline_slug": "web", "build_number": 5, "job_id": "j1",
			"runner_environment": "self-hosted", "build_commit": "f1", "build_source": "ui",
		},
	}
}

func TestProviders(t *testing.T) {
	type id = sigbox.Identity
	type ext = sigbox.Extensions
	want := map[string]id{
		"github-workflow": {Subject: "https://github.com/octo/hello/.github/workflows/release.yml@refs/tags/v1", Extensions: ext{
			GitHubWorkflowTrigger: "push", GitHubWorkflowSHA: "f1e2", GitHubWorkflowName: "Release", GitHubWorkflowRepository: "octo/hello", GitHubWorkflowRef: "refs/tags/v1",
			BuildSignerURI: "https://github.com/octo/hello/.github/workflows/release.yml@refs/tags/v1", BuildSignerDigest: "a1b2", RunnerEnvironment: "github-hosted",
			SourceRepositoryURI: "https://github.com/octo/hello", SourceRepositoryDigest: "f1e2", SourceRepositoryRef: "refs/tags/v1", SourceRepositoryIdentifier: "123",
			SourceRepositoryOwnerURI: "https://github.com/octo", SourceRepositoryOwnerIdentifier: "7",
			BuildConfigURI: "https://github.com/octo/hello/.github/workflows/main.yml@refs/tags/v1", BuildConfigDigest: "c3d4", BuildTrigger: "push",
			RunInvocationURI: "https://github.com/octo/hello/actions/runs/99/attempts/2", SourceRepositoryVisibilityAtSigning: "public", DeploymentEnvironment: "prod",
		}},
		"gitlab-pipeline": {Subject: "https://gitlab.com/acme/web//.gitlab-ci.yml@refs/heads/main", Extensions: ext{
			BuildSignerURI: "https://gitlab.com/acme/web//.gitlab-ci.yml@refs/heads/main", BuildSignerDigest: "a1", RunnerEnvironment: "gitlab-hosted",
			SourceRepositoryURI: "https://gitlab.com/acme/web", SourceRepositoryDigest: "f1", SourceRepositoryRef: "refs/heads/main", SourceRepositoryIdentifier: "1",
			SourceRepositoryOwnerURI: "https://gitlab.com/acme", SourceRepositoryOwnerIdentifier: "2",
			BuildConfigURI: "https://gitlab.com/acme/web//.gitlab-ci.yml@refs/heads/main", BuildConfigDigest: "a1", BuildTrigger: "push",
			RunInvocationURI: "https://gitlab.com/acme/web/-/jobs/3", SourceRepositoryVisibilityAtSigning: "private",
		}},
		"codefresh-workflow": {Subject: "https://g.codefresh.io/acme/web/build:a1/p1", Extensions: ext{
			BuildSignerURI: "https://g.codefresh.io/build/w1", SourceRepositoryURI: "https://github.com/acme/web", SourceRepositoryRef: "main",
			BuildConfigURI: "https://g.codefresh.io/api/pipelines/p1", RunInvocationURI: "https://g.codefresh.io/build/w1",
		}},
		"circleci-job": {Subject: "https://circleci.com/api/v2/projects/p1/pipeline-definitions/d1", Extensions: ext{
			BuildSignerURI: "https://circleci.com/api/v2/projects/p1/pipeline-definitions/d1", BuildConfigURI: "https://circleci.com/api/v2/pipeline/l1/config",
			RunInvocationURI: "https://app.circleci.com//workflow/w1/job/j1", RunnerEnvironment: "ssh-rerun",
			SourceRepositoryRef: "refs/heads/main", SourceRepositoryURI: "github.com/acme/web",
		}},
		"buddy-pipeline": {Subject: "https://eu.buddy.works/acme/web/pipelines/pipeline/42", Extensions: ext{
			BuildSignerURI: "https://eu.buddy.works/acme/web/pipelines/pipeline/42", BuildTrigger: "click", RunnerEnvironment: "buddy-hosted",
			SourceRepositoryURI: "https://eu.buddy.works/acme/web", SourceRepositoryDigest: "f1", SourceRepositoryRef: "refs/heads/main",
			SourceRepositoryOwnerURI: "https://eu.buddy.works/acme", RunInvocationURI: "https://eu.buddy.works/acme/web/pipelines/pipeline/42/execution/e1",
		}},
		"buildkite-job": {Subject: "https://buildkite.com/acme/web", Extensions: ext{
			RunInvocationURI: "https://buildkite.com/acme/web/builds/5#j1", RunnerEnvironment: "self-hosted", SourceRepositoryDigest: "f1", BuildTrigger: "ui",
		}},
	}
	for name := range ca.Providers() {
		t.Run(name, func(t *testing.T) {
			i := newInstance(t, ca.Issuer{URL: "https://issuer.example.com", Type: ca.CIProvider, Provider: name})
			claims := ciTokens()[name]
			chain, err := i.Issue(t.Context(), request(t, i.idp.token(t, claims), "subject-1"))
			if err != nil {
				t.Fatal(err)
			}
			w := want[name]
			w.Issuer, w.Kind, w.Extensions.TokenSubject = "https://issuer.example.com", sigbox.URISAN, "subject-1"
			if diff := cmp.Diff(w, must(cert.IdentityOf(i.verify(t, chain)))); diff != "" {
				t.Error(diff)
			}
			testMissingClaims(t, i, name, claims)
		})
	}
}

// testMissingClaims takes each claim away in turn: the error names it, unless it
// has a default.
func testMissingClaims(t *testing.T, i *instance, provider string, claims object) {
	t.Helper()
	for claim := range claims {
		less := object{}
		for k, v := range claims {
			if k != claim {
				less[k] = v
			}
		}
		_, err := i.Issue(t.Context(), request(t, i.idp.token(t, less), "subject-1"))
		if _, optional := ca.Providers()[provider].Defaults[claim]; optional {
			if err != nil {
				t.Errorf("without %s, which has a default: %v", claim, err)
			}
			continue
		}
		refused(t, err, sigbox.Unauthenticated, `"`+claim+`"`)
	}
}

// TestOwnProvider: another CI provider is a value in the configuration.
func TestOwnProvider(t *testing.T) {
	key, root := fixture.Key(t), fixture.Key(t)
	idp := newProvider(t)
	i := &instance{clock: fixture.NewClock(start()), log: &ctLog{key: fixture.Key(t)}, idp: idp}
	config := func(p ca.Provider) ca.Config {
		return ca.Config{
			Key: key, Chain: must(ca.NewChain(ca.ChainConfig{Root: root, Intermediate: key.Public(), Now: start})), CTLog: i.log, Now: i.clock.Now,
			Issuers:   []ca.Issuer{{URL: "https://issuer.example.com", Type: ca.CIProvider, Provider: "own", Keys: idp.source()}},
			Providers: map[string]ca.Provider{"own": p},
		}
	}
	i.Service = must(ca.New(config(ca.Provider{
		Subject:    "https://ci.example.com/{kind|b=branch|t=tag}/{name}",
		Extensions: map[string]string{"build-trigger": "{trigger}{count}"},
		Defaults:   map[string]string{"trigger": ""},
	})))
	chain, err := i.Issue(t.Context(), request(t, idp.token(t, object{"kind": "t", "name": "v1 ä", "count": 12345678901}), "subject-1"))
	if err != nil {
		t.Fatal(err)
	}
	id := must(cert.IdentityOf(i.verify(t, chain)))
	if id.Subject != "https://ci.example.com/tag/v1%20%C3%A4" || id.Extensions.BuildTrigger != "12345678901" {
		t.Errorf("%+v", id)
	}
	for name, tc := range map[string]struct {
		claims object
		about  string
	}{
		"value without a rule": {object{"kind": "x", "name": "a", "count": 1}, "no rule"},
		"claim of a list":      {object{"kind": "t", "name": []string{"a"}, "count": 1}, "wrong type"},
		"empty claim":          {object{"kind": "t", "name": "", "count": 1}, `"name" is empty`},
	} {
		_, err := i.Issue(t.Context(), request(t, idp.token(t, tc.claims), "subject-1"))
		t.Log(name)
		refused(t, err, sigbox.Unauthenticated, tc.about)
	}
	for name, p := range map[string]ca.Provider{
		"no subject":        {},
		"open brace":        {Subject: "https://{a"},
		"closing brace":     {Subject: "https://a}"},
		"brace in a brace":  {Subject: "https://{a{b}}"},
		"no name":           {Subject: "https://{}"},
		"rule without =":    {Subject: "https://{a|b}"},
		"unknown extension": {Subject: "https://a", Extensions: map[string]string{"issuer": "x"}},
		"token subject":     {Subject: "https://a", Extensions: map[string]string{"token-subject": "x"}},
		"broken extension":  {Subject: "https://a", Extensions: map[string]string{"build-trigger": "{"}},
	} {
		if _, err := ca.New(config(p)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	i.Service = must(ca.New(config(ca.Provider{Subject: "{name}"})))
	_, err = i.Issue(t.Context(), request(t, idp.token(t, object{"name": "no URI"}), "subject-1"))
	refused(t, err, sigbox.Unauthenticated, "make no URI")
}
