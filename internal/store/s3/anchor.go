package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// maxAnchor bounds what an anchor holds, in bytes.
const maxAnchor = 64 << 10

// Anchor is one small text, for a log's anchor. It takes the place of the text that
// was loaded last, and of no other.
type Anchor struct {
	bucket *Bucket
	key    string

	mu      sync.Mutex
	loaded  bool   // guarded by mu; tag is that of the bucket's text, as far as known
	tag     string // guarded by mu; "": there is no text
	checked bool   // guarded by mu; the server refuses what it should
}

// Load gives what was stored last, or store.ErrNotFound.
func (a *Anchor) Load(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.load(ctx)
}

func (a *Anchor) load(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	a.loaded, a.tag = false, ""
	client, err := a.bucket.client(ctx)
	if err != nil {
		return "", a.failed("read", err)
	}
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &a.bucket.at.Bucket, Key: &a.key})
	if code, _ := answer(err); code == "NoSuchKey" {
		a.loaded = true
		return "", store.ErrNotFound
	}
	if err != nil {
		return "", a.failed("read", err)
	}
	b, err := io.ReadAll(io.LimitReader(out.Body, maxAnchor+1))
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return "", a.failed("read", err)
	}
	if len(b) > maxAnchor {
		return "", store.TooLong(a.name(), maxAnchor)
	}
	if a.tag = aws.ToString(out.ETag); a.tag == "" {
		return "", a.unfit("it gives no ETag")
	}
	a.loaded = true
	return string(b), nil
}

// Store replaces what was loaded last, and returns once that is durable. The error is
// of kind Conflict, with store.ErrConflict, when something else is there by now.
func (a *Anchor) Store(ctx context.Context, text string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.loaded {
		if _, err := a.load(ctx); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	tag, err := a.put(ctx, text, a.tag)
	a.loaded, a.tag = err == nil && tag != "", tag
	if refused(err) {
		// It may be what was put: an answer was lost, and the call tried again.
		if there, loadErr := a.load(ctx); loadErr != nil || there != text {
			return sigbox.Errorf(sigbox.Conflict, "%s was written by somebody else", a.name()).
				WithHint("does another instance of this log run?").WithCause(errors.Join(store.ErrConflict, err))
		}
		err = nil
	}
	if err != nil {
		return a.failed("written", err)
	}
	return a.check(ctx, text)
}

// check makes sure, once, that the server refuses what it should: it is asked to put
// what is there in the place of something that is not.
func (a *Anchor) check(ctx context.Context, text string) error {
	if a.checked {
		return nil
	}
	_, err := a.put(ctx, text, `"00000000000000000000000000000000"`)
	switch {
	case err == nil:
		a.loaded = false
		return a.unfit("it writes whatever the condition (If-Match)")
	case !refused(err):
		return a.failed("written", err)
	}
	a.checked = true
	return nil
}

// put writes text if what is there has a tag; "" is nothing. It gives the new tag.
func (a *Anchor) put(ctx context.Context, text, tag string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	client, err := a.bucket.client(ctx)
	if err != nil {
		return "", err
	}
	in := &s3.PutObjectInput{
		Bucket: &a.bucket.at.Bucket, Key: &a.key, Body: strings.NewReader(text),
		ContentType: aws.String("text/plain; charset=utf-8"),
	}
	if tag == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = &tag
	}
	out, err := client.PutObject(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

// name is what errors call the anchor.
func (a *Anchor) name() string {
	return fmt.Sprintf("%s%s/%s", Scheme, a.bucket.at.Bucket, a.key)
}

// unfit is the error for a server that cannot keep an anchor.
func (a *Anchor) unfit(why string) error {
	return sigbox.Errorf(sigbox.Invalid, "the server of %s cannot keep an anchor: %s", a.name(), why).
		WithHint("use one that knows conditional writes, or a directory on another disk")
}

// failed is the error for a call that was refused or got no answer.
func (a *Anchor) failed(what string, err error) error {
	kind, hint := sigbox.Unavailable, "is the server there, and are region and endpoint right?"
	switch code, status := answer(err); {
	case errors.Is(err, errNoCredentials):
		kind, hint = sigbox.Denied, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine or the service account a role"
	case code == "NoSuchBucket":
		kind, hint = sigbox.Invalid, "sigbox does not make buckets: make it, for this alone, with versions kept"
	case code == "RequestTimeTooSkewed":
		kind, hint = sigbox.Denied, "set this machine's clock right: the server's shows another time"
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		kind, hint = sigbox.Denied, "it needs s3:GetObject, s3:PutObject and s3:ListBucket: without the last, what is not there is denied"
	}
	return sigbox.Errorf(kind, "%s cannot be %s", a.name(), what).WithHint("%s", hint).WithCause(err)
}

// answer gives the code and the status with which the server has refused a call.
func answer(err error) (code string, status int) {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		code = e.ErrorCode()
	}
	if e, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = e.HTTPStatusCode()
	}
	return code, status
}

// refused reports whether a condition was not met: 412, or 409 while another write is
// under way.
func refused(err error) bool {
	_, status := answer(err)
	return status == http.StatusPreconditionFailed || status == http.StatusConflict
}
