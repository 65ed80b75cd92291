package source

import (
	"context"
	"encoding/json"
	"fmt"
)

// plan is one step of EXPLAIN (VERBOSE, FORMAT JSON), with those beneath it.
type plan struct {
	NodeType string  `json:"Node Type"`
	Schema   string  `json:"Schema"`
	Relation string  `json:"Relation Name"`
	Rows     float64 `json:"Plan Rows"`
	Plans    []plan  `json:"Plans"`
}

// steps returns the plan and all beneath it.
func (p plan) steps() []plan {
	all := []plan{p}
	for _, child := range p.Plans {
		all = append(all, child.steps()...)
	}
	return all
}

// table is the quoted name of what the step reads.
func (p plan) table() string { return quoteIdentifier(p.Schema) + "." + quoteIdentifier(p.Relation) }

// literal is that name as a row of two texts.
func (p plan) literal() string {
	return "(" + textLiteral(p.Schema) + "," + textLiteral(p.Relation) + ")"
}

// explain returns the plans of the EXPLAIN statements in sql, which are about a
// relation, in their order.
func (s *server) explain(ctx context.Context, relation, sql string) ([]plan, error) {
	results, err := s.query(ctx, "plan a query of "+relation, sql)
	if err != nil {
		return nil, err
	}
	var plans []plan
	for _, rows := range results {
		var one []struct{ Plan plan }
		if err := json.Unmarshal([]byte(rows[0][0]), &one); err != nil {
			return nil, fmt.Errorf("read plan of a query of %s: %w", relation, err)
		}
		if len(one) != 1 {
			return nil, fmt.Errorf("read plan of a query of %s: %d plans for one statement", relation, len(one))
		}
		plans = append(plans, one[0].Plan)
	}
	return plans, nil
}
