package target

import (
	"net/http"
	"slices"
	"strings"
)

// class is what an answer that is not a success asks for.
type class uint8

const (
	stop    class = iota // say it: nothing that is sent again would be taken
	again                // send the same once more, after a pause
	smaller              // send it in two requests
	thisRow              // this one document will never be taken
	gone                 // the index or alias is not there
)

// place is where an answer was met.
type place uint8

const (
	ofRequest place = 1 << iota // the whole answer
	ofItem                      // the word on one document of a bulk
	anywhere  = ofRequest | ofItem
)

// rule is a line of the table: what matches its type, its status and its place.
type rule struct {
	types    string // OpenSearch's names, separated by spaces; empty: any
	reason   string // part of the explanation, empty: any
	statuses []int  // nil: any
	where    place
	class    class
}

// rules decide about every answer of OpenSearch's own, the first that matches.
// Types come before statuses, because OpenSearch has 429 for a full queue and
// for a full disk, 404 for a missing index and for a shard that moves, and 400
// for a bad document and for an index that could not be created.
var rules = []rule{
	{types: typeIndexMissing + " " + typeAliasesMissing, where: anywhere, class: gone},
	// Without a cluster manager everything is blocked; other blocks are somebody's decision, or a full disk.
	{types: "cluster_block_exception", statuses: []int{http.StatusServiceUnavailable}, where: anywhere, class: again},
	{types: "cluster_block_exception index_closed_exception validation_exception security_exception", where: anywhere, class: stop},
	// The cluster itself forbids new indices while disks are full, and allows them later.
	{types: "index_create_block_exception", where: anywhere, class: again},
	{types: "illegal_argument_exception", reason: wordsPipeline, where: anywhere, class: stop},
	// Nodes that stop and shards that move have statuses such as 500 and 404.
	{
		types: "node_closed_exception node_disconnected_exception node_not_connected_exception connect_transport_exception " +
			"receive_timeout_transport_exception not_cluster_manager_exception not_master_exception already_closed_exception " +
			"illegal_index_shard_state_exception index_shard_closed_exception index_shard_not_started_exception " +
			"shard_not_found_exception no_shard_available_action_exception process_cluster_event_timeout_exception",
		where: anywhere, class: again,
	},
	// Some shards failed, each for a reason of its own, such as a breaker. What none can answer is a 400.
	{types: "search_phase_execution_exception", statuses: []int{http.StatusInternalServerError}, where: ofRequest, class: again},
	{statuses: []int{http.StatusRequestEntityTooLarge}, where: ofRequest, class: smaller},
	{statuses: []int{http.StatusRequestEntityTooLarge, http.StatusBadRequest}, where: ofItem, class: thisRow},
	{statuses: []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, where: anywhere, class: again},
	{where: anywhere, class: stop},
}

// foreignRules decide about the statuses of what stands between this machine
// and OpenSearch. Where it asks for a login, or leads elsewhere, it will again.
var foreignRules = []rule{
	{statuses: []int{http.StatusRequestEntityTooLarge}, where: ofRequest, class: smaller},
	{statuses: []int{
		http.StatusOK, http.StatusNotFound, http.StatusRequestTimeout, http.StatusExpectationFailed, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}, where: ofRequest, class: again},
	{where: ofRequest, class: stop},
}

// signedRules are foreignRules for requests that are signed: Amazon's gate refuses
// credentials that expire at this moment, until this machine has the next ones.
var signedRules = append([]rule{{statuses: []int{http.StatusForbidden}, where: ofRequest, class: again}}, foreignRules...)

// classOf looks an answer up in the tables.
func classOf(e *Error, where place) class {
	table := rules
	switch {
	case e.foreign && e.signed:
		table = signedRules
	case e.foreign:
		table = foreignRules
	}
	if beyond(e.Reason) {
		return smaller
	}
	for _, r := range table {
		if r.matches(e, where) {
			return r.class
		}
	}
	return stop
}

func (r rule) matches(e *Error, where place) bool {
	return r.where&where != 0 &&
		(r.types == "" || slices.Contains(strings.Fields(r.types), e.Type)) &&
		(r.statuses == nil || slices.Contains(r.statuses, e.Status)) &&
		strings.Contains(e.Reason, r.reason)
}
