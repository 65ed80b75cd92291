package target

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// Error is a request that the cluster refused.
type Error struct {
	Op     string // what was being done, to what
	Status int    // HTTP status
	Type   string // OpenSearch's name of the error, may be empty
	Reason string // OpenSearch's explanation, without any payload

	foreign bool // it is not OpenSearch that spoke
	signed  bool // to a request with a signature
}

// Error writes the refusal as one line.
func (e *Error) Error() string {
	parts := []string{fmt.Sprintf("%s: status %d", e.Op, e.Status)}
	if e.foreign {
		parts[0] += " without OpenSearch's words: a proxy in between, or a wrong path in --target?"
	}
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
	hintForeign     = "ask the same URL with curl from this machine; --target must lead to OpenSearch itself, with the path under which a proxy offers it"
	hintCredentials = "check --target-username and --target-password-file"
	hintSigned      = "Amazon refuses the signature: look at this machine's clock, at --target-aws-region, and whether the credentials are still valid and may es:ESHttp* on the domain"
	hintPrivileges  = "the user needs cluster_monitor and manage_index_templates on the cluster, and crud, create_index and manage on the daily indices and the alias"
	hintClosed      = "open the index (POST /NAME/_open), or move it away from the alias; then run the same command again"
	hintShards      = "raise cluster.max_shards_per_node, remove indices that are not needed, or give the template fewer shards"
	hintBlock       = "make room on the data nodes (see _cat/allocation) or remove the block; then run the same command again to resume"
)

// withHint adds the remedies that follow from the status alone.
func withHint(e *Error) error {
	switch {
	case e.Status == http.StatusUnauthorized:
		return hint.Add(e, hintCredentials)
	case e.Type == "cluster_block_exception" && e.Status != http.StatusServiceUnavailable: // else no cluster manager is elected
		return hint.Add(fmt.Errorf("%w: %w", ErrBlocked, e), hintBlock)
	case e.Status == http.StatusForbidden && e.foreign && e.signed:
		return hint.Add(e, hintSigned)
	case e.Status == http.StatusForbidden:
		return hint.Add(e, hintPrivileges)
	case e.Type == "index_closed_exception":
		return hint.Add(e, hintClosed)
	case strings.Contains(e.Reason, wordsPipeline):
		return hint.Add(e, pipelineRemedy)
	case strings.Contains(e.Reason, " shards open"):
		return hint.Add(e, hintShards)
	case e.foreign:
		return hint.Add(e, hintForeign)
	}
	return e
}

// refusal makes an Error of an answer's status and body.
func refusal(op string, status int, body []byte) *Error {
	kind, reason, ok := words(status, body)
	return &Error{Op: op, Status: status, Type: kind, Reason: withoutPayload(reason), foreign: !ok && !common(status)}
}

// common reports whether a status says enough without OpenSearch's words: the
// security plugin asks for a password in plain text, and a proxy whose servers
// are away has no others.
func common(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

const (
	typeIndexMissing   = "index_not_found_exception"
	typeAliasesMissing = "aliases_not_found_exception"
	// wordsPipeline are those of an ingest pipeline that is not there, for which OpenSearch has no type.
	wordsPipeline = "pipeline with id"
	// typeDocumentMissing is our name for the answer to a GET that OpenSearch has no type for.
	typeDocumentMissing = "document_missing_exception"
)

// words finds in the body of a refusal what OpenSearch says, in any of its
// forms. It is not OK if a proxy could have said it as well.
func words(status int, body []byte) (kind, reason string, ok bool) {
	var answer struct {
		Error       json.RawMessage `json:"error"`
		Status      int             `json:"status"`
		Found       *bool           `json:"found"`
		ID          *string         `json:"_id"`
		ClusterName string          `json:"cluster_name"`
	}
	var cause struct {
		Type, Reason string
		Roots        []struct{ Reason string } `json:"root_cause"`
	}
	var text string
	switch {
	case json.Unmarshal(body, &answer) != nil:
		return "", "", false
	case json.Unmarshal(answer.Error, &cause) == nil && cause.Type != "":
		if len(cause.Roots) > 0 && cause.Roots[0].Reason != cause.Reason { // such as why all shards failed
			cause.Reason += ": " + cause.Roots[0].Reason
		}
		return cause.Type, cause.Reason, true
	case json.Unmarshal(answer.Error, &text) == nil && missingAlias.MatchString(text):
		return typeAliasesMissing, text, true
	case text != "" && (answer.Status == status || strings.HasPrefix(text, "no handler found for uri")):
		return "", text, true
	case answer.Found != nil && !*answer.Found && answer.ID != nil:
		return typeDocumentMissing, "", true
	}
	return "", "", answer.ClusterName != "" // a health that was waited for in vain
}

var missingAlias = regexp.MustCompile(`^alias(es)? \[.*\] missing$`)

// withoutRequest removes what the library puts before a transport's error, the
// method and the address in quotes: op says it.
func withoutRequest(err error) error {
	inner := errors.Unwrap(err)
	if inner == nil || !strings.HasPrefix(err.Error(), `"`) {
		return err
	}
	return inner
}

// unreachable adds what to do when no connection came about at all.
func unreachable(urls []string, err error) error {
	if err == nil || hint.Of(err) != "" {
		return err
	}
	if IsGone(err) {
		return hint.Add(err, "OpenSearch takes the path in --target for an index: leave it out, or give the one under which a proxy offers OpenSearch")
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return hint.Add(err, "give the cluster's certificate authority with --target-ca, or pin its certificate with --target-fingerprint")
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return hint.Add(err, "the server does not speak TLS there: try http:// in --target")
	}
	if strings.Contains(err.Error(), wantsCertificate) {
		return hint.Add(err, "the server does not take this client's certificate, or wants one: --target-cert and --target-key")
	}
	if proxy := throughProxy(urls[0]); proxy != "" {
		return hint.Add(err, "requests go"+proxy+": name the cluster's host in NO_PROXY if it needs none")
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

// typeOf returns OpenSearch's name of a refusal, or "".
func typeOf(err error) string {
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused.Type
	}
	return ""
}

// IsGone reports whether OpenSearch itself says that an index or alias does not
// exist. Any other 404 is not an answer to that.
func IsGone(err error) bool {
	kind := typeOf(err)
	return kind == typeIndexMissing || kind == typeAliasesMissing || errors.Is(err, ErrDropped)
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
