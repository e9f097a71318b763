package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
)

const (
	source          = "match-list-processor"
	snapshotMatches = 12
)

// invented names clubs, places and people by number. Telephone numbers are of
// the series that is kept for fiction.
var (
	clubs   = []string{"Ängsviks IF", "Östra Åsby BK", "Fiktiva FF", "BK Påhittet", "Lådmyrens SK", "Höganäsby IK", "Träskö AIS"}
	grounds = []string{"Björkängsvallen 1 Konstgräs", "Fiktivparken", "Lådmyrens IP A-plan", "Träskövallen"}
	towns   = []string{"Ängsvik", "Åsby", "Öviken", "Lådmyra"}
	first   = []string{"Åke", "Märta", "Göran", "Björn", "Sölve", "Åsa", "Pär"}
	last    = []string{"Öberg-Påhittad", "Exempelsson", "Låtsasson", "Påhittsson", "Övnings"}
	roles   = [][2]string{{"Huvuddomare", "Dom"}, {"Assisterande 1", "AD1"}, {"Assisterande 2", "AD2"}}
)

func pick(from []string, n int) string { return from[n%len(from)] }

func person(n int) string { return pick(first, n) + " " + pick(last, n) }
func mobile(n int) string { return fmt.Sprintf("070-174 06 %02d", 5+n%95) }
func email(n int) string  { return fmt.Sprintf("person%d@example.com", n) }

// kickoff is 17:00 in Sweden, n days after the sixth of May 2031.
func kickoff(n int) time.Time { return time.Date(2031, 5, 6+n, 15, 0, 0, 0, time.UTC) }

// official is who has the given role in a match, as FOGIS writes it.
func official(match, role int) string {
	n := match*len(roles) + role
	var b strings.Builder
	fmt.Fprintf(&b, `{"domaruppdragid": %d, "matchid": %d, "matchnr": "%09d", "domarrollid": %d, `, 7200001+n, 6200001+match, 402011+match, role+1)
	fmt.Fprintf(&b, `"domarrollnamn": %q, "domarrollkortnamn": %q, "domareid": %d, "domarnr": "%d", "personid": %d, `,
		roles[role][0], roles[role][1], 81001+n, 91001+n, 1510001+n)
	fmt.Fprintf(&b, `"domaruppdragstatusid": 5, "domaruppdragstatusnamn": "Tilldelat", "personnamn": %q, "telefon": "", `, person(n))
	fmt.Fprintf(&b, `"mobiltelefon": %q, "telefonarbete": "", "adress": "Påhittsvägen %d", "coadress": "", `, mobile(n), n+1)
	fmt.Fprintf(&b, `"epostadress": %q, "land": "Sverige", "namn": %q, "postnr": "999 %02d", "postort": %q}`, email(n), person(n), n%100, pick(towns, n))
	return b.String()
}

// contact is whom to call of the match's home or away team.
func contact(match, side int) string {
	n := match*2 + side
	var b strings.Builder
	fmt.Fprintf(&b, `{"lagid": %d, "lagnamn": %q, "personid": %d, "personnamn": %q, "telefon": "", `, 310001+n, pick(clubs, n), 1520001+n, person(n+3))
	fmt.Fprintf(&b, `"mobiltelefon": %q, "telefonarbete": "", "adress": "Fiktivgatan %d", "coadress": "", `, mobile(n+40), n+1)
	fmt.Fprintf(&b, `"epostadress": %q, "land": "", "postnr": "999 %02d", "postort": %q, "reserv": %t, "foreningId": %d}`,
		email(n+500), n%100, pick(towns, n), side == 1, 11901+n)
	return b.String()
}

// rawMatch is match n with the keys, their order and their types that FOGIS
// has, and the spaces of Python's json.dumps.
func rawMatch(n int) json.RawMessage {
	id, number, at := 6200001+n, fmt.Sprintf("%09d", 402011+n), kickoff(n)
	home, away := pick(clubs, 2*n), pick(clubs, 2*n+1)
	local := at.Add(2 * time.Hour) // Swedish summer time
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"__type": "Svenskfotboll.Fogis.Web.FogisMobilDomarKlient.MatchJSON", "value": "%d", `, id)
	fmt.Fprintf(&b, `"label": "%s: %s - %s (Div 4 Nordöstra Götaland, herrar), %s", `, number, home, away, local.Format("2006-01-02 15:04"))
	fmt.Fprintf(&b, `"matchid": %d, "matchnr": %q, "fotbollstypid": 1, `, id, number)
	for team, name := range []string{home, away} {
		k := team + 1
		fmt.Fprintf(&b, `"matchlag%[1]did": %[2]d, "lag%[1]dlagengagemangid": %[3]d, "lag%[1]dlagid": %[4]d, "lag%[1]dforeningid": %[5]d, "lag%[1]dforbundid": 0, "lag%[1]dnamn": %[6]q, "lag%[1]dspelsystem": "", `,
			k, 12400001+2*n+team, 1300001+2*n+team, 310001+2*n+team, 11901+2*n+team, name)
	}
	fmt.Fprintf(&b, `"anlaggningid": %d, "anlaggningnamn": %q, "anlaggningLatitud": 57.%06d, "anlaggningLongitud": 12.%06d, `,
		29001+n, pick(grounds, n), 123456+n, 654321+n)
	fmt.Fprintf(&b, `"tid": "/Date(%d)/", "speldatum": %q, "avsparkstid": %q, "tidsangivelse": %q, `,
		at.UnixMilli(), local.Format(time.DateOnly), local.Format("15:04"), local.Format("2006-01-02, 15:04"))
	b.WriteString(`"tavlingid": 129001, "tavlingnr": "000402", "tavlingnamn": "Div 4 Nordöstra Götaland, herrar", ` +
		`"tavlingskategoriid": 730, "tavlingskategorinamn": "Division 4, herrar", "tavlingagsavforbundid": 1, ` +
		`"matchlag1mal": 0, "matchlag2mal": 0, "arslutresultat": false, "wo": false, "ow": false, "ww": false, "antalaskadare": 0, ` +
		`"uppskjuten": false, "avbruten": false, "installd": false, "matchrapportgodkandavdomare": false, ` +
		`"matchrapportgodkandavdomaredatum": "/Date(-62135596800000)/", "matchrapportgodkandavdomaredatumformaterad": "", ` +
		`"tavlinganvanderhogupplosttid": false, "tavlingantalstartadespelareigodkanddomarrapport": 0, ` +
		`"tavlingmaxantalspelareimatchtruppigodkanddomarrapport": 0, "tavlingantalledareimatchtrupp": 7, ` +
		`"tavlingantalspelareimatchtrupp": 20, "antalhalvlekar": 2, "tidperhalvlek": 45, "antalforlangningsperioder": 0, ` +
		`"tidperforlangningsperiod": 0, "liverapporteringTillaten": false, "liverapporteringPaborjad": false, ` +
		`"liverapporteringAvslutad": false, "liverapporteringsAktorTypId": 0, "anvanderspelarleg": false, ` +
		`"foreningsanvandarefarredigeramotstandartrupp": false, "foreningsanvandarefarregistreramatchhandelser": false, ` +
		`"foreningsanvandarefarregistreramatchresultat": false, "domaruppdraglista": [`)
	for role := range roles {
		if role > 0 {
			b.WriteString(", ")
		}
		b.WriteString(official(n, role))
	}
	b.WriteString(`], "domarefargodkannarapport": false, "domarrapporteringTillaten": false, "noteringfranlag1": "", ` +
		`"noteringfranlag2": "", "noteringfrandomare": "", "tavlingFriaByten": true, ` +
		`"tavlingDomareMojliggorHamtningAvFrammandeSpelareTillMatchtrupp": true, ` +
		`"tavlingAntalTimmarInnanMatchForTruppAdministration": 0, ` +
		`"tavlingDomareKravForekomstAvAnsvarigLagledareIGodkandDomarrapport": false, ` +
		`"tavlingAntalDagarEfterMatchForAdministrationAvDomarrapport": 3, "tavlingKonId": 2, "tavlingAlderskategori": 4, ` +
		`"kontaktpersoner": [` + contact(n, 0) + ", " + contact(n, 1) + `], `)
	deadline := at.Add(-time.Hour).UnixMilli()
	fmt.Fprintf(&b, `"matchlag1OffentliggorMatchtruppDatumTid": "/Date(%[1]d)/", "matchlag2OffentliggorMatchtruppDatumTid": "/Date(%[1]d)/", `, deadline)
	b.WriteString(`"tavlingDomareAntalMinuterForeMatchSomTrupperOffentliggors": 60, "domareArHuvuddomare": true, ` +
		`"tavlingMatchklimatDomareKanLamnaOmdome": false, "tavlingDomareVisaVarningsOchAvstangningsAckumulering": true, ` +
		`"TavlingTrojnummerKravsIForeningensLaguppstallning": false}`)
	return b.Bytes()
}

// rawSnapshot is a snapshot of matches given as JSON.
func rawSnapshot() message.MatchUpdates {
	matches := make([]message.Match, snapshotMatches)
	for n := range matches {
		matches[n].Raw = rawMatch(n)
	}
	return message.MatchUpdates{Matches: matches}
}

// typedSnapshot is the same snapshot as Go values.
func typedSnapshot(t *testing.T) message.MatchUpdates {
	t.Helper()
	matches := make([]message.Match, snapshotMatches)
	for n := range matches {
		m, err := message.ParseMatch(rawMatch(n))
		require.NoError(t, err)
		m.Raw = nil
		matches[n] = m
	}
	return message.MatchUpdates{Matches: matches}
}

// status tells of one cycle, in about 300 bytes with its envelope.
func status() message.ProcessingStatus {
	return message.ProcessingStatus{
		Status:  message.StatusCompleted,
		Details: map[string]json.RawMessage{"matches_processed": json.RawMessage("12")},
	}
}

// header is the head of message n of a publisher.
func header(n uint64) message.Header {
	return message.Header{
		ID:        message.NewID(),
		Source:    source,
		Timestamp: message.Timestamp{Time: time.Now()},
		Seq:       message.Seq{Epoch: "0123456789abcdef", N: n},
	}
}

// encoded is p in an envelope of the SDK.
func encoded(t *testing.T, p message.Payload, n uint64) []byte {
	t.Helper()
	body, err := message.AppendEncode(nil, header(n), p)
	require.NoError(t, err)
	return body
}

func TestPayloads_have_the_sizes_of_the_services(t *testing.T) {
	t.Parallel()
	var match map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(rawMatch(0), &match))
	require.Len(t, match, 85)
	require.InDelta(t, 65<<10, len(encoded(t, rawSnapshot(), 1)), 3<<10)
	require.InDelta(t, 330, len(encoded(t, status(), 1)), 50)
}

// What is built by hand and what the SDK makes of the same matches must say the
// same, or the comparison of publishing typed values compares two messages.
func TestPayloads_typed_snapshot_is_the_one_written_by_hand(t *testing.T) {
	t.Parallel()
	snapshot := typedSnapshot(t)
	body := encoded(t, snapshot, 1)
	var sdk, hand struct {
		Payload struct{ Matches json.RawMessage }
	}
	require.NoError(t, json.Unmarshal(body, &sdk))
	byHand, err := json.Marshal(newHandSnapshot(snapshot.Matches).envelope(1))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(byHand, &hand))
	require.JSONEq(t, string(sdk.Payload.Matches), string(hand.Payload.Matches))
}
