package message_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
)

func TestSummarize_countsEachMatchOnce(t *testing.T) {
	t.Parallel()
	one, two, three := message.NewMatchID(1), message.NewMatchID(2), message.NewMatchID(3)
	for name, test := range map[string]struct {
		changes []message.Change
		want    message.ChangeSummary
	}{
		"none": {nil, message.ChangeSummary{}},
		"two changes of one match": {
			[]message.Change{{MatchID: one, Category: message.CategoryTimeChange}, {MatchID: one, Category: message.CategoryVenueChange}},
			message.ChangeSummary{Updated: 1, Total: 2},
		},
		"a new match is one with officials and no earlier value": {
			[]message.Change{
				{MatchID: one, Category: message.CategoryNewAssignment, From: json.RawMessage("null"), To: json.RawMessage("[1]")},
				{MatchID: one, Category: message.CategoryDateChange, To: json.RawMessage(`"2031-05-06"`)},
			},
			message.ChangeSummary{New: 1, Total: 2},
		},
		"a known match that gets officials is updated": {
			[]message.Change{{MatchID: one, Category: message.CategoryNewAssignment, From: json.RawMessage("[]"), To: json.RawMessage("[1]")}},
			message.ChangeSummary{Updated: 1, Total: 1},
		},
		"cancelled whatever else changed": {
			[]message.Change{
				{MatchID: one, Category: message.CategoryCancellation}, {MatchID: one, Category: message.CategoryTimeChange},
				{MatchID: two, Category: message.CategoryPostponement}, {MatchID: three, Category: message.CategoryNewAssignment},
			},
			message.ChangeSummary{New: 1, Updated: 1, Cancelled: 1, Total: 4},
		},
		"matches known by their number alone": {
			[]message.Change{{MatchNumber: "000402011", Category: message.CategoryTimeChange}, {MatchNumber: "000402012", Category: message.CategoryTimeChange}},
			message.ChangeSummary{Updated: 2, Total: 2},
		},
		"changes given as JSON": {
			[]message.Change{
				{Raw: json.RawMessage(`{"match_id":1,"category":"cancellation"}`)}, {Raw: json.RawMessage(`{"match_id":2,"category":"new_assignment","previous_value":null}`)},
				{Raw: json.RawMessage(`no JSON`)},
			},
			message.ChangeSummary{New: 1, Updated: 1, Cancelled: 1, Total: 3},
		},
	} {
		require.Equal(t, test.want, message.Summarize(test.changes), name)
	}
}
