package target

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/opensearch-project/opensearch-go/v4"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// Error is a request that the cluster refused.
type Error struct {
	Op     string // what was being done, to what
	Status int    // HTTP status
	Type   string // OpenSearch's name of the error, may be empty
	Reason string // OpenSearch's explanation, without any payload
}

// Error writes the refusal as one line.
func (e *Error) Error() string {
	parts := []string{fmt.Sprintf("%s: status %d", e.Op, e.Status)}
	if e.Type != "" {
		parts = append(parts, e.Type)
	}
	if e.Reason != "" {
		parts = append(parts, e.Reason)
	}
	return strings.Join(parts, ": ")
}

// ErrDropped means that a daily index went away while it was being filled.
var ErrDropped = errors.New("the daily index is gone")

// ErrExists means that somebody else created a daily index first.
var ErrExists = errors.New("the daily index is there already")

// ErrBlocked means that the cluster refuses writes until somebody acts.
var ErrBlocked = errors.New("the cluster blocks writes")

const (
	hintCredentials = "check --target-username and --target-password-file"
	hintPrivileges  = "the user needs cluster_monitor and manage_index_templates on the cluster, and crud, create_index and manage on the daily indices and the alias"
	hintClosed      = "open the index (POST /NAME/_open), or move it away from the alias; then run the same command again"
	hintShards      = "raise cluster.max_shards_per_node, remove indices that are not needed, or give the template fewer shards"
	hintBlock       = "make room on the data nodes (see _cat/allocation) or remove the block; then run the same command again, it goes on where it stopped"
)

// withHint adds the remedies that follow from the status alone.
func withHint(e *Error) error {
	switch {
	case e.Status == http.StatusUnauthorized:
		return hint.Add(e, hintCredentials)
	case e.Type == "cluster_block_exception":
		return hint.Add(fmt.Errorf("%w: %w", ErrBlocked, e), hintBlock)
	case e.Status == http.StatusForbidden:
		return hint.Add(e, hintPrivileges)
	case e.Type == "index_closed_exception":
		return hint.Add(e, hintClosed)
	case strings.Contains(e.Reason, " shards open"):
		return hint.Add(e, hintShards)
	}
	return e
}

// refusal makes an Error of an answer's status and body.
func refusal(op string, status int, body []byte) error {
	e := &Error{Op: op, Status: status}
	var answer struct {
		Error json.RawMessage `json:"error"`
	}
	var cause struct{ Type, Reason string }
	if json.Unmarshal(body, &answer) == nil && json.Unmarshal(answer.Error, &cause) == nil {
		e.Type, e.Reason = cause.Type, withoutPayload(cause.Reason)
	}
	return withHint(e)
}

// classify gives the library's errors the form of ours.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	if structured, ok := errors.AsType[*opensearch.StructError](err); ok {
		return withHint(&Error{Op: op, Status: structured.Status, Type: structured.Err.Type, Reason: withoutPayload(structured.Err.Reason)})
	}
	if plain, ok := errors.AsType[*opensearch.StringError](err); ok {
		return withHint(&Error{Op: op, Status: plain.Status, Reason: withoutPayload(plain.Err)})
	}
	// The security plugin answers a wrong password with plain text. The library
	// quotes the whole of what it cannot read, which may be a payload.
	if errors.Is(err, opensearch.ErrJSONUnmarshalBody) {
		return withHint(&Error{Op: op, Status: statusIn(err.Error()), Reason: "the answer is not the JSON that was expected"})
	}
	return fmt.Errorf("%s: %w", op, withoutRequest(err))
}

// withoutRequest removes what the library puts before a transport's error, the
// method and the address in quotes: op says it.
func withoutRequest(err error) error {
	inner := errors.Unwrap(err)
	if inner == nil || !strings.HasPrefix(err.Error(), `"`) {
		return err
	}
	return inner
}

// statusIn reads the status that the library names before it quotes a body, or 0.
func statusIn(text string) (status int) {
	_, after, _ := strings.Cut(text, "status: ")
	digits, _, _ := strings.Cut(after, ",")
	status, _ = strconv.Atoi(digits) // 0 if there is none
	return status
}

// unreachable adds what to do when no connection came about at all.
func unreachable(urls []string, err error) error {
	if err == nil || hint.Of(err) != "" {
		return err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return hint.Add(err, "give the cluster's certificate authority with --target-ca, or pin its certificate with --target-fingerprint")
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return hint.Add(err, "the server does not speak TLS there: try http:// in --target")
	}
	if strings.HasPrefix(urls[0], "http://") && strings.Contains(err.Error(), "EOF") {
		return hint.Add(err, "the server closed the connection: if it wants TLS, write https:// in --target")
	}
	return hint.Add(err, "check --target, and that the cluster can be reached from this machine")
}

// statusOf returns the HTTP status of a refusal, or 0.
func statusOf(err error) int {
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused.Status
	}
	return 0
}

// IsGone reports whether an error says that an index does not exist.
func IsGone(err error) bool {
	return statusOf(err) == http.StatusNotFound || errors.Is(err, ErrDropped)
}

// maxReason bounds what is kept of a server's explanation, in bytes.
const maxReason = 400

var (
	// OpenSearch quotes the value that it could not parse, and Lucene the
	// first bytes of a term that is too long, as a list of numbers.
	quotedValue = regexp.MustCompile(`(?s)(Preview of field's value:|The prefix of the first immense term is:).*`)
	longRun     = regexp.MustCompile(`[A-Za-z0-9+/=]{48,}`)
)

// withoutPayload removes from a server's explanation whatever could be part of
// a node's payload (promise 10).
func withoutPayload(reason string) string {
	reason = quotedValue.ReplaceAllString(reason, "(value not shown)")
	reason = longRun.ReplaceAllString(reason, "(value not shown)")
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	return strings.TrimSpace(reason)
}
