package ca

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
)

// Provider says how the tokens of a CI provider become certificates. It is data:
// another provider is another value in the configuration.
//
// In templates, {name} stands for the token's claim of that name, and
// {name|a=x|b=y} for x where the claim is a and y where it is b. A claim that the
// token lacks, or a value that is not in the list, refuses the token.
type Provider struct {
	// Subject is the template of the subject alternative name, a URI.
	Subject string `yaml:"subject"`
	// Extensions are templates by the name of the certificate extension, as in
	// "source-repository-uri". One that comes out empty is left out.
	Extensions map[string]string `yaml:"extensions"`
	// Defaults stand in for claims that tokens may lack.
	Defaults map[string]string `yaml:"defaults"`
}

// Providers gives the CI providers that are built in, by name.
//
// Source: the mapping of https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md.
func Providers() map[string]Provider {
	return map[string]Provider{
		"github-workflow": {
			Subject: "https://github.com/{job_workflow_ref}",
			Extensions: map[string]string{
				"github-workflow-trigger":                 "{event_name}",
				"github-workflow-sha":                     "{sha}",
				"github-workflow-name":                    "{workflow}",
				"github-workflow-repository":              "{repository}",
				"github-workflow-ref":                     "{ref}",
				"build-signer-uri":                        "https://github.com/{job_workflow_ref}",
				"build-signer-digest":                     "{job_workflow_sha}",
				"runner-environment":                      "{runner_environment}",
				"source-repository-uri":                   "https://github.com/{repository}",
				"source-repository-digest":                "{sha}",
				"source-repository-ref":                   "{ref}",
				"source-repository-identifier":            "{repository_id}",
				"source-repository-owner-uri":             "https://github.com/{repository_owner}",
				"source-repository-owner-identifier":      "{repository_owner_id}",
				"build-config-uri":                        "https://github.com/{workflow_ref}",
				"build-config-digest":                     "{workflow_sha}",
				"build-trigger":                           "{event_name}",
				"run-invocation-uri":                      "https://github.com/{repository}/actions/runs/{run_id}/attempts/{run_attempt}",
				"source-repository-visibility-at-signing": "{repository_visibility}",
				"deployment-environment":                  "{environment}",
			},
			Defaults: map[string]string{"environment": ""},
		},
		"gitlab-pipeline": {
			Subject: "https://{ci_config_ref_uri}",
			Extensions: map[string]string{
				"build-signer-uri":                        "https://{ci_config_ref_uri}",
				"build-signer-digest":                     "{ci_config_sha}",
				"runner-environment":                      "{runner_environment}",
				"source-repository-uri":                   "https://gitlab.com/{project_path}",
				"source-repository-digest":                "{sha}",
				"source-repository-ref":                   "refs/{ref_type|branch=heads|tag=tags}/{ref}",
				"source-repository-identifier":            "{project_id}",
				"source-repository-owner-uri":             "https://gitlab.com/{namespace_path}",
				"source-repository-owner-identifier":      "{namespace_id}",
				"build-config-uri":                        "https://{ci_config_ref_uri}",
				"build-config-digest":                     "{ci_config_sha}",
				"build-trigger":                           "{pipeline_source}",
				"run-invocation-uri":                      "https://gitlab.com/{project_path}/-/jobs/{job_id}",
				"source-repository-visibility-at-signing": "{project_visibility}",
				"deployment-environment":                  "{environment}",
			},
			// ci_config_sha is null for a configuration that is not in the project.
			Defaults: map[string]string{"environment": "", "ci_config_sha": ""},
		},
		"buildkite-job": {
			Subject: "https://buildkite.com/{organization_slug}/{pipeline_slug}",
			Extensions: map[string]string{
				"run-invocation-uri":       "https://buildkite.com/{organization_slug}/{pipeline_slug}/builds/{build_number}#{job_id}",
				"runner-environment":       "{runner_environment}",
				"source-repository-digest": "{build_commit}",
				"build-trigger":            "{build_source}",
			},
		},
		"codefresh-workflow": {
			Subject: "{platform_url}/{account_name}/{pipeline_name}:{account_id}/{pipeline_id}",
			Extensions: map[string]string{
				"build-signer-uri":      "{platform_url}/build/{workflow_id}",
				"runner-environment":    "{runner_environment}",
				"source-repository-uri": "{scm_repo_url}",
				"source-repository-ref": "{scm_ref}",
				"build-config-uri":      "{platform_url}/api/pipelines/{pipeline_id}",
				"run-invocation-uri":    "{platform_url}/build/{workflow_id}",
			},
			Defaults: map[string]string{"platform_url": "https://g.codefresh.io", "scm_repo_url": "", "scm_ref": "", "runner_environment": ""},
		},
		"circleci-job": {
			Subject: "https://circleci.com/api/v2/projects/{oidc.circleci.com/project-id}/pipeline-definitions/{oidc.circleci.com/pipeline-definition-id}",
			Extensions: map[string]string{
				"build-config-uri":      "https://circleci.com/api/v2/pipeline/{oidc.circleci.com/pipeline-id}/config",
				"build-signer-uri":      "https://circleci.com/api/v2/projects/{oidc.circleci.com/project-id}/pipeline-definitions/{oidc.circleci.com/pipeline-definition-id}",
				"run-invocation-uri":    "https://app.circleci.com//workflow/{oidc.circleci.com/workflow-id}/job/{oidc.circleci.com/job-id}",
				"runner-environment":    "{oidc.circleci.com/ssh-rerun|true=ssh-rerun|false=}",
				"source-repository-ref": "{oidc.circleci.com/vcs-ref}",
				"source-repository-uri": "{oidc.circleci.com/vcs-origin}",
			},
			Defaults: map[string]string{"oidc.circleci.com/ssh-rerun": "false", "oidc.circleci.com/vcs-ref": "", "oidc.circleci.com/vcs-origin": ""},
		},
		"buddy-pipeline": {
			Subject: "{base_url}/{workspace_domain}/{project_name}/pipelines/pipeline/{pipeline_id}",
			Extensions: map[string]string{
				"build-signer-uri":            "{base_url}/{workspace_domain}/{project_name}/pipelines/pipeline/{pipeline_id}",
				"build-trigger":               "{triggered_on}",
				"runner-environment":          "{runner_environment}",
				"source-repository-uri":       "{base_url}/{workspace_domain}/{project_name}",
				"source-repository-digest":    "{revision}",
				"source-repository-ref":       "{ref}",
				"source-repository-owner-uri": "{base_url}/{workspace_domain}",
				"run-invocation-uri":          "{base_url}/{workspace_domain}/{project_name}/pipelines/pipeline/{pipeline_id}/execution/{execution_id}",
			},
			Defaults: map[string]string{"base_url": "https://app.buddy.works", "revision": "", "ref": ""},
		},
	}
}

// extensionArc gives the last arc of a certificate extension by its name in a
// configuration, 0 if there is none that a CI provider may set.
func extensionArc(name string) int {
	switch name {
	case "github-workflow-trigger":
		return 2
	case "github-workflow-sha":
		return 3
	case "github-workflow-name":
		return 4
	case "github-workflow-repository":
		return 5
	case "github-workflow-ref":
		return 6
	case "build-signer-uri":
		return 9
	case "build-signer-digest":
		return 10
	case "runner-environment":
		return 11
	case "source-repository-uri":
		return 12
	case "source-repository-digest":
		return 13
	case "source-repository-ref":
		return 14
	case "source-repository-identifier":
		return 15
	case "source-repository-owner-uri":
		return 16
	case "source-repository-owner-identifier":
		return 17
	case "build-config-uri":
		return 18
	case "build-config-digest":
		return 19
	case "build-trigger":
		return 20
	case "run-invocation-uri":
		return 21
	case "source-repository-visibility-at-signing":
		return 22
	case "deployment-environment":
		return 23
	}
	return 0
}

// ciTemplates is a Provider made ready.
type ciTemplates struct {
	subject    template
	extensions map[int]template // by arc
	defaults   map[string]string
}

func compileProvider(p Provider) (*ciTemplates, error) {
	c := &ciTemplates{extensions: map[int]template{}, defaults: p.Defaults}
	var err error
	if c.subject, err = parseTemplate(p.Subject); err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "ci-provider, subject: %w", err)
	}
	if len(c.subject) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "ci-provider: there is no subject template")
	}
	for name, text := range p.Extensions {
		arc := extensionArc(name)
		if arc == 0 {
			return nil, sigbox.Errorf(sigbox.Invalid, "ci-provider: there is no extension %q that can be set", name)
		}
		if c.extensions[arc], err = parseTemplate(text); err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "ci-provider, %s: %w", name, err)
		}
	}
	return c, nil
}

// apply makes the identity of a build.
func (c *ciTemplates) apply(from claims) (subject string, x sigbox.Extensions, err error) {
	raw, err := c.subject.expand(from, c.defaults)
	if err != nil {
		return "", x, err
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return "", x, sigbox.Errorf(sigbox.Unauthenticated, "the identity token's claims make no URI: %.200q", raw)
	}
	for arc, t := range c.extensions {
		_, field := x.Field(arc)
		if *field, err = t.expand(from, c.defaults); err != nil {
			return "", x, err
		}
	}
	// What is not allowed in a URI is escaped, as in Fulcio's certificates.
	return u.String(), x, nil
}

// needs are the claims without which there is no identity, each once, in order.
func (c *ciTemplates) needs() []string {
	var all []string
	for _, t := range append(slices.Collect(maps.Values(c.extensions)), c.subject) {
		for _, p := range t {
			if _, optional := c.defaults[p.claim]; p.claim != "" && !optional {
				all = append(all, p.claim)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// template is text with claims in it.
type template []part

// part is text, or a claim if claim is not empty.
type part struct {
	text  string
	claim string
	table map[string]string // the claim's values and what they stand for; nil: themselves
}

// parseTemplate reads the form that Provider describes.
func parseTemplate(s string) (template, error) {
	var t template
	for s != "" {
		text, rest, found := strings.Cut(s, "{")
		if strings.Contains(text, "}") {
			return nil, sigbox.Errorf(sigbox.Invalid, "template: a } without a {")
		}
		if text != "" {
			t = append(t, part{text: text})
		}
		if !found {
			break
		}
		inner, rest, found := strings.Cut(rest, "}")
		if !found || strings.Contains(inner, "{") {
			return nil, sigbox.Errorf(sigbox.Invalid, "template: a { without a }")
		}
		p, err := parseClaim(inner)
		if err != nil {
			return nil, err
		}
		t, s = append(t, p), rest
	}
	return t, nil
}

// parseClaim reads what stands between braces.
func parseClaim(s string) (part, error) {
	fields := strings.Split(s, "|")
	p := part{claim: fields[0]}
	if p.claim == "" {
		return part{}, sigbox.Errorf(sigbox.Invalid, "template: {} names no claim")
	}
	for _, f := range fields[1:] {
		value, text, ok := strings.Cut(f, "=")
		if !ok {
			return part{}, sigbox.Errorf(sigbox.Invalid, "template: expected value=text in {%s}", s)
		}
		if p.table == nil {
			p.table = map[string]string{}
		}
		p.table[value] = text
	}
	return p, nil
}

// expand puts the claims in.
func (t template) expand(from claims, defaults map[string]string) (string, error) {
	var b strings.Builder
	for _, p := range t {
		if p.claim == "" {
			b.WriteString(p.text)
			continue
		}
		text, err := p.value(from, defaults)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// value gives what a claim stands for.
func (p part) value(from claims, defaults map[string]string) (string, error) {
	text, ok, err := from.scalar(p.claim)
	if err != nil {
		return "", err
	}
	if !ok {
		if text, ok = defaults[p.claim]; !ok {
			return "", missing(p.claim)
		}
	} else if _, optional := defaults[p.claim]; text == "" && !optional {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "the identity token's claim %q is empty", p.claim)
	}
	if p.table == nil {
		return text, nil
	}
	mapped, ok := p.table[text]
	if !ok {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "the identity token's claim %q has the value %.80q, for which there is no rule", p.claim, text)
	}
	return mapped, nil
}
