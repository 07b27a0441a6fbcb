package ca_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
)

// TestExplain has each door refuse a token, and wants to hear which it was and what the
// token passed before.
func TestExplain(t *testing.T) {
	idp, stranger := newProvider(t), newProvider(t)
	tokens := must(ca.NewTokens(ca.TokensConfig{Now: start, Issuers: []ca.Issuer{
		{URL: "https://issuer.example.com", Type: ca.Email, Keys: idp.source()},
		{URL: "https://*.ci.example.com", Type: ca.CIProvider, Provider: "github-workflow", Keys: idp.source()},
		{URL: "https://dex.example.com", Type: ca.Email, IssuerClaim: "$.federated_claims.connector_id", Keys: idp.source()},
		{URL: "https://cluster.example.com", Type: ca.Kubernetes, Keys: idp.source()},
	}}))
	mail := object{"email": "a@example.com", "email_verified": true}
	with := func(name string, v any) object {
		return object{"email": "a@example.com", "email_verified": true, name: v}
	}
	doors := []string{ca.DoorForm, ca.DoorIssuer, ca.DoorSignature, ca.DoorAudience, ca.DoorTimes, ca.DoorClaims}
	for name, tc := range map[string]struct {
		token   string
		refused string
		about   string
		missing []string
	}{
		"good":             {idp.token(t, mail), "", "", nil},
		"no token":         {"", ca.DoorForm, "no identity token", nil},
		"no JWT":           {"a.b.c", ca.DoorForm, "not a signed JWT", nil},
		"another issuer":   {idp.token(t, with("iss", "https://other.example.com")), ca.DoorIssuer, "other.example.com", nil},
		"no issuer":        {idp.token(t, with("iss", nil)), ca.DoorIssuer, "iss", nil},
		"another key":      {stranger.token(t, mail), ca.DoorSignature, "does not verify", nil},
		"another audience": {idp.token(t, with("aud", "other")), ca.DoorAudience, "other", nil},
		"expired":          {idp.token(t, with("exp", start().Add(-time.Hour).Unix())), ca.DoorTimes, "expired", nil},
		"no claims":        {idp.token(t, nil), ca.DoorClaims, "email", []string{"email", "email_verified"}},
		"no subject":       {idp.token(t, object{"sub": nil}), ca.DoorClaims, "sub", []string{"sub", "email", "email_verified"}},
		"not verified":     {idp.token(t, with("email_verified", false)), ca.DoorClaims, "not verified", nil},
		"federated":        {idp.token(t, with("iss", "https://dex.example.com")), ca.DoorClaims, "federated_claims", []string{"federated_claims"}},
		"service account":  {idp.token(t, object{"iss": "https://cluster.example.com"}), ca.DoorClaims, "kubernetes.io", []string{"kubernetes.io"}},
		"build": {idp.token(t, object{"iss": "https://a.ci.example.com", "sha": "abc", "ref": "refs/heads/main", "repository": "a/b", "repository_owner": "a"}), ca.DoorClaims, "claim", []string{
			"event_name", "job_workflow_ref", "job_workflow_sha", "repository_id", "repository_owner_id", "repository_visibility", "run_attempt", "run_id",
			"runner_environment", "workflow", "workflow_ref", "workflow_sha",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			x, err := tokens.Explain(t.Context(), tc.token)
			if x.Refused != tc.refused || (err == nil) != (tc.refused == "") || err != nil && !strings.Contains(err.Error(), tc.about) {
				t.Fatalf("refused by %q: %v", x.Refused, err)
			}
			want := doors
			if i := slices.Index(doors, tc.refused); i >= 0 {
				want = doors[:i]
			}
			var passed []string
			for _, d := range x.Passed {
				passed = append(passed, d.Name)
				if d.Found == "" {
					t.Errorf("nothing is said of %s", d.Name)
				}
			}
			if !slices.Equal(passed, want) || !slices.Equal(x.Missing, tc.missing) {
				t.Errorf("passed %q, missing %q", passed, x.Missing)
			}
			if good := tc.refused == ""; (x.Identity.Subject == "a@example.com") != good || (len(x.Proofs) == 1) != good {
				t.Errorf("identity %+v, proofs %q", x.Identity, x.Proofs)
			}
		})
	}
	x, err := tokens.Explain(t.Context(), idp.token(t, mail))
	if err != nil || !slices.Equal(x.Claims, []string{"aud", "email", "email_verified", "exp", "iat", "iss", "nbf", "sub"}) {
		t.Errorf("claims %q, %v", x.Claims, err)
	}
}

// TestProvidersChange: CI providers come and go with the issuers.
func TestProvidersChange(t *testing.T) {
	idp := newProvider(t)
	tokens := must(ca.NewTokens(ca.TokensConfig{Now: start}))
	issuers := []ca.Issuer{{URL: "https://issuer.example.com", Type: ca.CIProvider, Provider: "own", Keys: idp.source()}}
	own := map[string]ca.Provider{"own": {Subject: "https://ci.example.com/{name}"}}
	if err := tokens.SetIssuers(issuers, own); err != nil {
		t.Fatal(err)
	}
	token := idp.token(t, object{"name": "a"})
	if x, err := tokens.Explain(t.Context(), token); err != nil || x.Identity.Subject != "https://ci.example.com/a" {
		t.Errorf("%+v, %v", x.Identity, err)
	}
	for name, providers := range map[string]map[string]ca.Provider{
		"none":              nil,
		"broken":            {"own": {}},
		"broken and unused": {"own": own["own"], "other": {Subject: "{"}},
	} {
		if err := tokens.SetIssuers(issuers, providers); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := tokens.Explain(t.Context(), token); err != nil {
			t.Errorf("%s: the old ones are gone: %v", name, err)
		}
	}
}
