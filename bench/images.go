package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

const (
	references = 30
	platforms  = 4 // of each reference, which is an index
)

// measureImages signs and verifies images in two registries: go-containerregistry's, in
// memory, which has the referrers API, and distribution, which has none. What sigbox
// does in one call, cosign does in a call for each: it takes one image, and verifies no
// index with what it lists. Requests are counted by a proxy, in runs that are not timed.
func measureImages(ctx context.Context, c config, t *table) error {
	w, err := openWorkshop(ctx, c)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.prepare(ctx); err != nil {
		return err
	}
	memory := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	defer memory.Close()
	disk, err := startDistribution(ctx, c)
	if err != nil {
		return err
	}
	defer disk.stop()
	for _, r := range []struct{ name, url string }{{"referrers API", memory.URL}, {"distribution 3.1.2, no referrers API", disk.url}} {
		i := &imageBench{workshop: w, registry: r.name, host: strings.TrimPrefix(r.url, "http://")}
		for _, part := range []func(context.Context, *table) error{i.one, i.verifyMany, i.signMany} {
			if err := part(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// startDistribution starts the registry that most others are made from.
func startDistribution(ctx context.Context, c config) (*server, error) {
	return start(ctx, c, "distribution", "/v2/", func(addr, _, dir string) []string {
		file := filepath.Join(dir, "config.yml")
		text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %s}\nlog: {level: error}\n", filepath.Join(dir, "data"), addr)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			say("%v", err) // the server will say that it is missing
		}
		return []string{"serve", file}
	})
}

// imageBench is a workshop with a registry.
type imageBench struct {
	*workshop
	registry, host string
}

// invocation is a program with its arguments.
type invocation = func() (string, []string, error)

// one verifies an image by its digest.
func (i *imageBench) one(ctx context.Context, t *table) error {
	index, err := pushIndex(ctx, i.host, "one")
	if err != nil {
		return err
	}
	if err := i.sign(ctx, index.refs(i.host)[0]); err != nil {
		return err
	}
	verify := func(program, host string) invocation {
		return i.verifyImages(program, index.refs(host)[:1])
	}
	if err := i.compare(ctx, t, "verify an image, "+i.registry, verify("sigbox", i.host), verify("cosign", i.host), " (goal 0.35)"); err != nil {
		return err
	}
	return i.count(ctx, t, verify)
}

// verifyMany verifies references with all that they list in one call, beside cosign
// called for each.
func (i *imageBench) verifyMany(ctx context.Context, t *table) error {
	indexes, err := i.push(ctx, "many")
	if err != nil {
		return err
	}
	verify := func(program, host string) invocation {
		var tops, all []string
		for _, one := range indexes {
			refs := one.refs(host)
			tops, all = append(tops, refs[0]), append(all, refs...)
		}
		if program == "sigbox" {
			return i.verifyImages(program, append([]string{"--recursive"}, tops...))
		}
		return i.verifyImages(program, all)
	}
	_, signing, _ := verify("sigbox", i.host)()
	if err := i.sign(ctx, append([]string{"--recursive"}, signing[len(signing)-references:]...)...); err != nil {
		return err
	}
	return i.many(ctx, t, fmt.Sprintf("verify %d references × %d platforms, %d images", references, platforms, references*(platforms+1)),
		func(int) (func(program, host string) invocation, error) { return verify, nil })
}

// signMany signs references in one call, beside cosign called for each.
func (i *imageBench) signMany(ctx context.Context, t *table) error {
	return i.many(ctx, t, fmt.Sprintf("sign %d images", references), func(round int) (func(program, host string) invocation, error) {
		indexes, err := i.push(ctx, fmt.Sprintf("sign%d", round))
		return func(program, host string) invocation {
			var refs []string
			for _, one := range indexes {
				refs = append(refs, one.refs(host)[1+len(program)%2]) // each signs an image of its own
			}
			return i.signImages(program, refs)
		}, err
	})
}

// many runs what takes long a few times: sigbox for all at once, cosign for one after
// the other, whose figures are added up.
func (i *imageBench) many(ctx context.Context, t *table, what string, prepare func(round int) (func(program, host string) invocation, error)) error {
	var mine, peer []usage
	rounds := max(1, i.runs/5)
	for round := range rounds {
		run, err := prepare(round)
		if err != nil {
			return err
		}
		u, err := i.command(ctx, run("sigbox", i.host))
		if err != nil {
			return err
		}
		mine = append(mine, u)
		if i.alone {
			continue
		}
		if u, err = i.each(ctx, run("cosign", i.host)); err != nil {
			return err
		}
		peer = append(peer, u)
	}
	if what += ", " + i.registry; i.alone {
		t.add(what, "", median(mine).String(), "", "")
	} else {
		m, p := median(mine), median(peer)
		t.add(what, "", "in one call: "+m.String(), "cosign 3.1.3, called for each: "+p.String(),
			fmt.Sprintf("%.3f of its time, %.3f of its processor time (goal 0.05)", float64(m.wall)/float64(p.wall), float64(m.cpu)/float64(p.cpu)))
	}
	run, err := prepare(rounds)
	if err != nil {
		return err
	}
	return i.count(ctx, t, run)
}

// each runs a program for each of its references, which come last.
func (i *imageBench) each(ctx context.Context, run invocation) (sum usage, err error) {
	program, args, err := run()
	if err != nil {
		return usage{}, err
	}
	first := slices.IndexFunc(args, func(a string) bool { return strings.Contains(a, "@sha256:") })
	for _, ref := range args[first:] {
		u, err := i.once(ctx, program, append(slices.Clone(args[:first]), ref)...)
		if err != nil {
			return usage{}, err
		}
		sum.wall += u.wall
		sum.cpu += u.cpu
		sum.memory = max(sum.memory, u.memory)
	}
	return sum, nil
}

// signImages signs with the credentials of the instance.
func (i *imageBench) signImages(program string, refs []string) invocation {
	return func() (string, []string, error) {
		token, err := i.issuer.token(signer)
		if err != nil {
			return "", nil, err
		}
		if program == "sigbox" {
			return program, append([]string{"sign", "--instance", "bench", "--identity-token", token}, refs...), nil
		}
		file := filepath.Join(i.work, "token") // cosign takes RS256 tokens alone on its command line
		args := []string{"sign", "--yes", "--trusted-root", i.root, "--signing-config", i.signing, "--identity-token", file}
		return program, append(args, refs...), os.WriteFile(file, []byte(token), 0o600)
	}
}

// verifyImages has arguments that both programs know.
func (i *imageBench) verifyImages(program string, refs []string) invocation {
	return func() (string, []string, error) {
		return program, append([]string{"verify", "--trusted-root", i.root, "--certificate-identity", signer, "--certificate-oidc-issuer", i.issuer.url}, refs...), nil
	}
}

// push puts as many indexes into the registry as there are references.
func (i *imageBench) push(ctx context.Context, name string) ([]*index, error) {
	const parallel = 8
	indexes, errs := make([]*index, references), make([]error, references)
	var next atomic.Int64
	var group sync.WaitGroup
	for range parallel {
		group.Go(func() {
			for n := int(next.Add(1)) - 1; n < references; n = int(next.Add(1)) - 1 {
				indexes[n], errs[n] = pushIndex(ctx, i.host, fmt.Sprintf("%s/app%d", name, n))
			}
		})
	}
	group.Wait()
	return indexes, errors.Join(errs...)
}

// count has both do it once more, by way of a proxy that counts.
func (i *imageBench) count(ctx context.Context, t *table, run func(program, host string) invocation) error {
	told := map[string]string{}
	for _, program := range []string{"sigbox", "cosign"} {
		if program == "cosign" && i.alone {
			continue
		}
		c := &counter{}
		s := httptest.NewServer(c.before(&url.URL{Scheme: "http", Host: i.host}))
		invoke, execute := run(program, strings.TrimPrefix(s.URL, "http://")), i.each
		if program == "sigbox" {
			execute = i.command
		}
		_, err := execute(ctx, invoke)
		s.Close()
		if err != nil {
			return err
		}
		told[program] = c.String()
	}
	if told["cosign"] != "" {
		told["cosign"] = "cosign 3.1.3: " + told["cosign"]
	}
	t.add("… requests", "", told["sigbox"], told["cosign"], "")
	return nil
}

// counter counts requests on their way to a registry.
type counter struct {
	mu       sync.Mutex
	requests []string // kinds, in order; guarded by mu
}

func (c *counter) before(registry *url.URL) http.Handler {
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(registry)
		r.Out.Host = r.In.Host // uploads are to come back here
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.requests = append(c.requests, kindOf(r))
		c.mu.Unlock()
		forward.ServeHTTP(w, r)
	})
}

// kindOf says what a request asks for.
func kindOf(r *http.Request) string {
	path := r.URL.Path
	switch {
	case path == "/v2/":
		return "ping"
	case strings.Contains(path, "/referrers/"):
		return "referrers"
	case strings.Contains(path, "/manifests/sha256-"):
		return "tag" + filepath.Ext(path) // .sig, .att, or none for the index of referrers
	case strings.Contains(path, "/manifests/"):
		return "manifest"
	case strings.Contains(path, "/blobs/"):
		return "blob"
	}
	return r.Method + " " + path
}

// String tells how many there were, and if they are few, which.
func (c *counter) String() string {
	const few = 10
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.requests) > few {
		return thousands(float64(len(c.requests)))
	}
	return fmt.Sprintf("%d: %s", len(c.requests), strings.Join(c.requests, ", "))
}

// index is an index that was pushed, with what it lists.
type index struct {
	repository string
	digests    []string // the index first
}

// refs names all by digest.
func (x *index) refs(host string) []string {
	var all []string
	for _, d := range x.digests {
		all = append(all, host+"/"+x.repository+"@"+d)
	}
	return all
}

// descriptor is of image-spec v1.1.1, descriptor.md.
type descriptor struct {
	MediaType string            `json:"mediaType"`
	Digest    string            `json:"digest"`
	Size      int               `json:"size"`
	Platform  map[string]string `json:"platform,omitempty"`
}

const (
	typeImage = "application/vnd.oci.image.manifest.v1+json"
	typeIndex = "application/vnd.oci.image.index.v1+json"
)

// pushIndex puts an index of small images, unlike any other, into a registry.
func pushIndex(ctx context.Context, host, repository string) (*index, error) {
	p := &pusher{ctx: ctx, base: "http://" + host + "/v2/" + repository}
	var listed []descriptor
	for n := range platforms {
		platform := map[string]string{"os": "linux", "architecture": []string{"amd64", "arm64", "s390x", "ppc64le"}[n%4]}
		config := p.blob("application/vnd.oci.image.config.v1+json", platform)
		layer := p.blob("application/vnd.oci.image.layer.v1.tar", map[string]any{"of": repository, "n": n, "at": time.Now().UnixNano()})
		d := p.manifest(typeImage, map[string]any{"schemaVersion": 2, "mediaType": typeImage, "config": config, "layers": []descriptor{layer}})
		d.Platform = platform
		listed = append(listed, d)
	}
	top := p.manifest(typeIndex, map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": listed})
	x := &index{repository, []string{top.Digest}}
	for _, d := range listed {
		x.digests = append(x.digests, d.Digest)
	}
	return x, p.err
}

// pusher writes to a repository until something fails.
type pusher struct {
	ctx  context.Context
	base string
	err  error
}

func (p *pusher) blob(mediaType string, content any) descriptor {
	d, b := p.describe(mediaType, content)
	started := p.send(http.MethodPost, p.base+"/blobs/uploads/", "", nil, http.StatusAccepted)
	if p.err != nil {
		return d
	}
	at, err := started.Location()
	if err != nil {
		p.err = err
		return d
	}
	q := at.Query()
	q.Set("digest", d.Digest)
	at.RawQuery = q.Encode()
	p.send(http.MethodPut, at.String(), "application/octet-stream", b, http.StatusCreated)
	return d
}

func (p *pusher) manifest(mediaType string, content any) descriptor {
	d, b := p.describe(mediaType, content)
	p.send(http.MethodPut, p.base+"/manifests/"+d.Digest, mediaType, b, http.StatusCreated)
	return d
}

func (p *pusher) describe(mediaType string, content any) (descriptor, []byte) {
	b, err := json.Marshal(content)
	p.err = errors.Join(p.err, err)
	return descriptor{MediaType: mediaType, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(b)), Size: len(b)}, b
}

func (p *pusher) send(method, to, mediaType string, body []byte, want int) *http.Response {
	if p.err != nil {
		return nil
	}
	r, err := http.NewRequestWithContext(p.ctx, method, to, bytes.NewReader(body))
	if err != nil {
		p.err = err
		return nil
	}
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.err = err
		return nil
	}
	_ = resp.Body.Close()
	if resp.StatusCode != want {
		p.err = fmt.Errorf("%s %s: %s", method, to, resp.Status)
	}
	return resp
}
