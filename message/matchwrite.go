package message

import (
	"strconv"
	"time"
)

// append writes the match: Raw as it is, else the form of FOGIS with every
// key that the calendar reads. What is unknown is written as FOGIS does, with
// an empty string or zero, never null. Without a kick-off, tid is FOGIS's own
// mark for an unknown time, which every reader can parse.
func (m *Match) append(dst []byte) []byte {
	if m.Raw != nil {
		return append(dst, m.Raw...)
	}
	w := writer{append(dst, '{')}
	w.key("matchid")
	w.b = m.ID.append(w.b)
	w.str("matchnr", m.Number)
	w.int("lag1lagid", m.Home.ID)
	w.int("lag1foreningid", m.Home.ClubID)
	w.str("lag1namn", m.Home.Name)
	w.int("lag2lagid", m.Away.ID)
	w.int("lag2foreningid", m.Away.ClubID)
	w.str("lag2namn", m.Away.Name)
	w.int("anlaggningid", m.Venue.ID)
	w.str("anlaggningnamn", m.Venue.Name)
	w.float("anlaggningLatitud", m.Venue.Latitude)
	w.float("anlaggningLongitud", m.Venue.Longitude)
	w.kickoff(m.Kickoff)
	w.int("tavlingid", m.Competition.ID)
	w.str("tavlingnr", m.Competition.Number)
	w.str("tavlingnamn", m.Competition.Name)
	w.str("tavlingskategorinamn", m.Competition.Category)
	w.bool("arslutresultat", m.Completed)
	w.bool("uppskjuten", m.Postponed)
	w.bool("avbruten", m.Interrupted)
	w.bool("installd", m.Cancelled)
	w.key("domaruppdraglista")
	w.b = append(w.b, '[')
	for i := range m.Officials {
		w.official(&m.Officials[i])
	}
	w.b = append(w.b, ']')
	w.key("kontaktpersoner")
	w.b = append(w.b, '[')
	for i := range m.Contacts {
		w.contact(&m.Contacts[i])
	}
	return append(w.b, "]}"...)
}

// writer appends the members of objects.
type writer struct{ b []byte }

// comma separates from what was written before, if that was a value.
func (w *writer) comma() {
	switch w.b[len(w.b)-1] {
	case '{', '[':
	default:
		w.b = append(w.b, ',')
	}
}

func (w *writer) key(key string) {
	w.comma()
	w.b = append(w.b, '"')
	w.b = append(w.b, key...)
	w.b = append(w.b, '"', ':')
}

func (w *writer) str(key, text string) {
	w.key(key)
	w.b = appendString(w.b, text)
}

func (w *writer) int(key string, n int64) {
	w.key(key)
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *writer) float(key string, f float64) {
	w.key(key)
	w.b = strconv.AppendFloat(w.b, f, 'f', -1, 64)
}

func (w *writer) bool(key string, yes bool) {
	w.key(key)
	w.b = strconv.AppendBool(w.b, yes)
}

// kickoff writes the four keys of the time: one absolute, three in Swedish
// time.
func (w *writer) kickoff(t time.Time) {
	w.key("tid")
	w.b = appendDateMillis(w.b, t)
	if t.IsZero() {
		w.str("speldatum", "")
		w.str("avsparkstid", "")
		w.str("tidsangivelse", "")
		return
	}
	t = t.In(stockholm())
	for _, local := range [][2]string{{"speldatum", time.DateOnly}, {"avsparkstid", "15:04"}, {"tidsangivelse", "2006-01-02, 15:04"}} {
		w.key(local[0])
		w.b = append(w.b, '"')
		w.b = t.AppendFormat(w.b, local[1])
		w.b = append(w.b, '"')
	}
}

func (w *writer) official(o *Official) {
	w.comma()
	w.b = append(w.b, '{')
	if o.ID != "" {
		w.key("domareid")
		w.b = MatchID{Text: o.ID, Quoted: !isCanonicalInt(o.ID)}.append(w.b)
	}
	w.str("domarnr", o.Number)
	w.int("personid", o.PersonID)
	w.str("domarrollnamn", o.Role)
	w.str("domarrollkortnamn", o.RoleShort)
	w.str("personnamn", o.Name)
	w.str("namn", o.Name)
	w.str("telefon", o.Phone)
	w.str("mobiltelefon", o.Mobile)
	w.str("telefonarbete", o.WorkPhone)
	w.str("adress", o.Address)
	w.str("coadress", o.CareOf)
	w.str("epostadress", o.Email)
	w.str("land", o.Country)
	w.str("postnr", o.PostalCode)
	w.str("postort", o.City)
	w.b = append(w.b, '}')
}

func (w *writer) contact(c *Contact) {
	w.comma()
	w.b = append(w.b, '{')
	w.int("lagid", c.TeamID)
	w.str("lagnamn", c.TeamName)
	w.int("personid", c.PersonID)
	w.str("personnamn", c.Name)
	w.str("telefon", c.Phone)
	w.str("mobiltelefon", c.Mobile)
	w.str("telefonarbete", c.WorkPhone)
	w.str("adress", c.Address)
	w.str("coadress", c.CareOf)
	w.str("epostadress", c.Email)
	w.str("land", c.Country)
	w.str("postnr", c.PostalCode)
	w.str("postort", c.City)
	w.bool("reserv", c.Reserve)
	w.int("foreningId", c.ClubID)
	w.b = append(w.b, '}')
}

// isCanonicalInt tells whether text is an integer as it would be written.
func isCanonicalInt(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == text
}
