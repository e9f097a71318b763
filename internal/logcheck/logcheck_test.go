package logcheck_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/PitchConnect/fogispubsub/internal/logcheck"
	"github.com/stretchr/testify/require"
)

func TestFind_telephone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"070-174 06 10", "070-1740610", "0701740610", "0701 74 06 10", "070 174 06 10", "070.174.06.99",
		"070/174 06 05", "07 01 74 06 10", "+46 70 174 06 10", "+46701740610", "0046701740610", "0046 70-174 06 10",
		"+46 (0)70-174 06 10", "+46(0)701740610", "46701740610", "(070) 174 06 10", "070%20174%2006%2010",
		"070-174\u00a006\u00a010", "070\u2011174 06 10", `070-174\u00a006 10`, "tel:+46-70-174-06-10",
		`{"mobiltelefon":"070-174 06 10","x":1}`, "ring 0701740610.",
		base64.StdEncoding.EncodeToString([]byte(`{"a":1,"mobiltelefon":"070-174 06 10"}`)),
	} {
		require.NotEmpty(t, logcheck.Find(text), "%q", text)
		require.NotEmpty(t, logcheck.Find("before "+text+" after"), "%q", text)
	}
}

func TestFind_others(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"marta@example.com", "MARTA@EXAMPLE.COM", "marta%40example.com",
		"Påhittsvägen 3", "PÅHITTSVÄGEN 3", `P\u00e5hittsv\u00e4gen 3`, "Testgränd 12 B", "Fiktivgatan 1", "c/o Fiktiv",
		"redis://:s3kret-l0senord@127.0.0.1:6379/0", "hemligt",
	} {
		require.NotEmpty(t, logcheck.Find(text), "%q", text)
	}
}

func TestFind_harmless(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "match 6200001 nr 000402011", "2031-05-06T15:00:00.123456Z", "/Date(1935846000000)/",
		"00000000-0000-4000-8000-000000000001", "127.0.0.1:46701", "170174061", "0701740600", "070-174 07 10",
		"https://redis.example.com:6379", "Ängsviks IF - Östra Åsby BK",
	} {
		require.Empty(t, logcheck.Find(text), "%q", text)
	}
}

func TestClean_failsTheTest(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	logcheck.Clean(r, "the receipt", "nothing here")
	require.Empty(t, r.errors)
	logcheck.Clean(r, "the receipt", "sent to marta@example.com")
	require.Len(t, r.errors, 1)
	require.Contains(t, r.errors[0], "the receipt")
}

func TestCleanValue_everyForm(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	logcheck.CleanValue(r, "the error", errors.New("harmless"))
	require.Empty(t, r.errors)
	logcheck.CleanValue(r, "the options", struct{ password string }{logcheck.Password})
	require.NotEmpty(t, r.errors)
}

func TestForbidden_isFoundByItself(t *testing.T) {
	t.Parallel()
	for _, f := range logcheck.Forbidden() {
		require.Contains(t, logcheck.Find(strings.ToUpper(f)), f)
	}
}
