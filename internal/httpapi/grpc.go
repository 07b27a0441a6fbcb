package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sigbox/sigbox/wire/entry"
)

// rekorRPC begins the paths of Rekor's gRPC service.
const rekorRPC = "/dev.sigstore.rekor.v2.Rekor/"

// registerRPC adds the methods of dev.sigstore.rekor.v2.Rekor to mux, for clients of
// gRPC. They come to the port that has everything else, by HTTP/2 with TLS or by
// prior knowledge without.
//
//	CreateEntry      as POST /api/v2/log/entries does; an entry that is in the log already is no error
//	GetTile          a tile of hashes
//	GetEntryBundle   an entry bundle
//	GetCheckpoint    the latest checkpoint
//
// Source: rekor/v2/rekor_service.proto of sigstore/rekor-tiles, which leaves all but
// the first unimplemented.
func (h *Rekor) registerRPC(mux *http.ServeMux, t *tiles) {
	calls := rekorCalls{h.Service, t}
	for name, call := range map[string]rpcCall{
		"CreateEntry": calls.createEntry, "GetTile": calls.tile, "GetEntryBundle": calls.entryBundle, "GetCheckpoint": calls.checkpoint,
	} {
		mux.Handle("POST "+rekorRPC+name, newRPC(rekorRPC+name, entry.MaxRequestSize, h.Logger, call))
	}
}

// rekorCalls are the methods: parse, call the service, encode.
type rekorCalls struct {
	service RekorLog
	tiles   *tiles
}

func (c rekorCalls) createEntry(ctx context.Context, body []byte) ([]byte, error) {
	e, err := entry.ParseRequestProto(body)
	if err != nil {
		return nil, asInvalid(err)
	}
	le, err := c.service.Add(ctx, e)
	if err != nil {
		return nil, asInvalid(err)
	}
	return entry.AppendLogEntryProto(nil, &le), nil
}

func (c rekorCalls) tile(ctx context.Context, body []byte) ([]byte, error) {
	level, path, err := entry.ParseTileRequest(body)
	if err != nil {
		return nil, asInvalid(err)
	}
	t, err := parseTile(strconv.FormatUint(level, 10) + "/" + path)
	if err != nil {
		return nil, err
	}
	return httpBody(tileType)(c.service.Tile(ctx, t.level, t.index, t.width))
}

// rpcCopies is how many times a bundle is in memory that gRPC answers with: as it was
// read, in its message, and in the buffer that Connect keeps of that.
const rpcCopies = 3

func (c rekorCalls) entryBundle(ctx context.Context, body []byte) ([]byte, error) {
	path, err := entry.ParseBundleRequest(body)
	if err != nil {
		return nil, asInvalid(err)
	}
	t, err := parseTile("entries/"+path, "entries")
	if err != nil {
		return nil, err
	}
	return httpBody(tileType)(c.tiles.bundle(ctx, rpcExchangeOf(ctx).w, t, false, rpcCopies))
}

func (c rekorCalls) checkpoint(_ context.Context, body []byte) ([]byte, error) {
	if err := entry.ParseEmpty(body); err != nil {
		return nil, err
	}
	return httpBody(checkpointType)([]byte(c.service.Checkpoint()), nil)
}

// httpBody makes a google.api.HttpBody of what a read gives.
func httpBody(contentType string) func(data []byte, err error) ([]byte, error) {
	return func(data []byte, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return entry.AppendHTTPBody(nil, contentType, data), nil
	}
}

// rpcCall is a method: from a message in protobuf's binary form to another. The
// message is the call's to keep.
type rpcCall func(ctx context.Context, message []byte) ([]byte, error)

// rpc serves one method to clients of gRPC. Connect has the protocol: framing,
// deadlines and trailers; messages, bounds, and what errors become are as for HTTP.
type rpc struct {
	method *connect.Handler
	limit  int64 // of a message, in bytes
	logger *slog.Logger
}

func newRPC(procedure string, limit int64, logger *slog.Logger, call rpcCall) *rpc {
	method := func(ctx context.Context, req *connect.Request[[]byte]) (*connect.Response[[]byte], error) {
		answer, err := call(ctx, *req.Msg)
		if err != nil {
			return nil, rpcExchangeOf(ctx).refuse(ctx, err)
		}
		return connect.NewResponse(&answer), nil
	}
	return &rpc{
		method: connect.NewUnaryHandler(procedure, method, connect.WithCodec(rpcCodec{}), uncompressed()),
		limit:  limit, logger: logger,
	}
}

// uncompressed takes gzip away: a small message must not become a large one after
// it was counted.
func uncompressed() connect.HandlerOption { return connect.WithCompression("gzip", nil, nil) }

// rpcEnvelope is the size of what stands before a message: a flag and its length.
const rpcEnvelope = 5

func (h *rpc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isRPC(r) {
		w.Header().Set("Accept-Post", "application/grpc, application/grpc+proto")
		writeBytes(w, http.StatusUnsupportedMediaType, "text/plain; charset=utf-8", []byte("this is a method of a gRPC service\n"))
		return
	}
	x := &rpcExchange{w: w, r: r, logger: h.logger}
	in := r.WithContext(context.WithValue(r.Context(), rpcExchangeKey{}, x))
	in.Body = &rpcBody{ReadCloser: http.MaxBytesReader(w, r.Body, h.limit+rpcEnvelope), x: x, limit: h.limit}
	answer := &trailersOnly{ResponseWriter: w}
	h.method.ServeHTTP(answer, in)
	answer.end()
}

// isRPC reports whether r is a call of gRPC. What else Connect speaks has the same
// content in other forms, of which one is enough.
func isRPC(r *http.Request) bool {
	t := mediaType(r)
	return r.Method == http.MethodPost && (t == "application/grpc" || t == "application/grpc+proto")
}

// rpcExchange is what a call needs of its request to refuse it.
type rpcExchange struct {
	w      http.ResponseWriter
	r      *http.Request
	logger *slog.Logger
}

type rpcExchangeKey struct{}

func rpcExchangeOf(ctx context.Context) *rpcExchange {
	return ctx.Value(rpcExchangeKey{}).(*rpcExchange)
}

// refuse gives err the form in which a client of gRPC reads it. ctx ends when the
// call's deadline does.
func (x *rpcExchange) refuse(ctx context.Context, err error) *connect.Error {
	code, rpcCode, msg := refuse(x.w, x.r.WithContext(ctx), x.logger, err)
	return newRPCError(x.w, code, rpcCode, msg, patience(err))
}

// newRPCError makes the error of an answer, which is counted as an HTTP status. wait is
// how long clients are asked to wait where that helps, in seconds.
func newRPCError(w http.ResponseWriter, httpStatus, rpcCode int, msg string, wait int) *connect.Error {
	if s, ok := w.(interface{ standsFor(status int) }); ok {
		s.standsFor(httpStatus)
	}
	e := connect.NewError(connect.Code(rpcCode), errors.New(msg)) // #nosec G115 -- one of the 16 codes
	if httpStatus == http.StatusServiceUnavailable || httpStatus == http.StatusTooManyRequests {
		e.Meta().Set("Grpc-Retry-Pushback-Ms", strconv.Itoa(1000*wait)) // gRFC A6, for clients that retry by themselves
		e.AddDetail(retryInfo(wait))
	}
	return e
}

// retryInfo is a google.rpc.RetryInfo: {retry_delay: {seconds: wait}}.
func retryInfo(wait int) *connect.ErrorDetail {
	delay := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(wait)) // #nosec G115 -- of seconds, from 0 to a day
	info := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), delay)
	detail, err := connect.NewErrorDetail(&anypb.Any{TypeUrl: "type.googleapis.com/google.rpc.RetryInfo", Value: info})
	if err != nil {
		panic(err) // unreachable: an Any is taken as it is
	}
	return detail
}

// writeRPCError answers a call that does not come to its method, or not back.
func writeRPCError(w http.ResponseWriter, r *http.Request, httpStatus, rpcCode int, msg string) {
	wait, err := strconv.Atoi(w.Header().Get("Retry-After"))
	if err != nil {
		wait = retryAfter
	}
	answer := &trailersOnly{ResponseWriter: w}
	_ = connect.NewErrorWriter().Write(answer, r, newRPCError(w, httpStatus, rpcCode, msg, wait)) // it writes headers alone
	answer.end()
}

// trailersOnly gives an answer without a message the form that gRPC calls
// Trailers-Only: the trailer is the header, and there is nothing else. A client
// that retries by itself does so after no other: headers that come first commit it.
type trailersOnly struct {
	http.ResponseWriter      // without http.Flusher: the header waits for the end
	message             bool // whether any of one was written
}

// WriteHeader does nothing: the first byte of a message sends the header, or end.
func (w *trailersOnly) WriteHeader(int) {}

func (w *trailersOnly) Write(b []byte) (int, error) {
	w.message = true
	return w.ResponseWriter.Write(b)
}

func (w *trailersOnly) end() {
	if w.message {
		return
	}
	h := w.Header()
	h.Del("Trailer")
	for key, values := range h {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			delete(h, key)
			h[name] = values
		}
	}
	w.ResponseWriter.WriteHeader(http.StatusOK)
}

// rpcBody is the body of a call. Its errors are refusals, which Connect hands on.
type rpcBody struct {
	io.ReadCloser
	x     *rpcExchange
	limit int64
}

func (b *rpcBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, b.x.refuse(b.x.r.Context(), bodyError(err, b.limit))
}

// rpcCodec passes messages on as they are; what makes and reads them is strict and
// knows no descriptors. Connect's own messages, statuses, go their way.
type rpcCodec struct{}

func (rpcCodec) Name() string { return "proto" }

func (rpcCodec) Marshal(message any) ([]byte, error) {
	switch m := message.(type) {
	case *[]byte:
		return *m, nil
	case proto.Message:
		return proto.Marshal(m)
	}
	return nil, fmt.Errorf("a message of type %T", message)
}

// Unmarshal copies: Connect uses the buffer again.
func (rpcCodec) Unmarshal(b []byte, message any) error {
	m, ok := message.(*[]byte)
	if !ok {
		return fmt.Errorf("a message of type %T", message)
	}
	*m = bytes.Clone(b)
	return nil
}
