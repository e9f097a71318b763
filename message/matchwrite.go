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
	w := writer{append(dst, `{"matchid":`...)}
	w.b = m.ID.append(w.b)
	w.str(`,"matchnr":`, m.Number)
	w.int(`,"lag1lagid":`, m.Home.ID)
	w.int(`,"lag1foreningid":`, m.Home.ClubID)
	w.str(`,"lag1namn":`, m.Home.Name)
	w.int(`,"lag2lagid":`, m.Away.ID)
	w.int(`,"lag2foreningid":`, m.Away.ClubID)
	w.str(`,"lag2namn":`, m.Away.Name)
	w.int(`,"anlaggningid":`, m.Venue.ID)
	w.str(`,"anlaggningnamn":`, m.Venue.Name)
	w.float(`,"anlaggningLatitud":`, m.Venue.Latitude)
	w.float(`,"anlaggningLongitud":`, m.Venue.Longitude)
	w.kickoff(m.Kickoff)
	w.int(`,"tavlingid":`, m.Competition.ID)
	w.str(`,"tavlingnr":`, m.Competition.Number)
	w.str(`,"tavlingnamn":`, m.Competition.Name)
	w.str(`,"tavlingskategorinamn":`, m.Competition.Category)
	w.bool(`,"arslutresultat":`, m.Completed)
	w.bool(`,"uppskjuten":`, m.Postponed)
	w.bool(`,"avbruten":`, m.Interrupted)
	w.bool(`,"installd":`, m.Cancelled)
	w.b = append(w.b, `,"domaruppdraglista":[`...)
	for i := range m.Officials {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.official(&m.Officials[i])
	}
	w.b = append(w.b, `],"kontaktpersoner":[`...)
	for i := range m.Contacts {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.contact(&m.Contacts[i])
	}
	return append(w.b, "]}"...)
}

// writer appends members of objects; a key brings its punctuation along.
type writer struct{ b []byte }

func (w *writer) str(key, text string) {
	w.b = appendString(append(w.b, key...), text)
}

// plain writes text that needs no escape.
func (w *writer) plain(key string, text []byte) {
	w.b = append(append(w.b, key...), '"')
	w.b = append(append(w.b, text...), '"')
}

func (w *writer) int(key string, n int64) {
	w.b = strconv.AppendInt(append(w.b, key...), n, 10)
}

func (w *writer) float(key string, f float64) {
	w.b = strconv.AppendFloat(append(w.b, key...), f, 'f', -1, 64)
}

func (w *writer) bool(key string, yes bool) {
	w.b = strconv.AppendBool(append(w.b, key...), yes)
}

// kickoff writes the four keys of the time: one absolute, three in Swedish
// time.
func (w *writer) kickoff(t time.Time) {
	w.b = appendDateMillis(append(w.b, `,"tid":`...), t)
	var room [32]byte
	var date, clock, both []byte
	if !t.IsZero() {
		both = t.In(stockholm()).AppendFormat(room[:0], "2006-01-02, 15:04")
		clock, date = both[len(both)-len("15:04"):], both[:len(both)-len(", 15:04")]
	}
	w.plain(`,"speldatum":`, date)
	w.plain(`,"avsparkstid":`, clock)
	w.plain(`,"tidsangivelse":`, both)
}

func (w *writer) official(o *Official) {
	w.str(`{"personnamn":`, o.Name)
	w.str(`,"namn":`, o.Name)
	if o.ID != "" {
		id := MatchID{Text: o.ID, Quoted: !isCanonicalInt(o.ID)}
		w.b = id.append(append(w.b, `,"domareid":`...))
	}
	w.str(`,"domarnr":`, o.Number)
	w.int(`,"personid":`, o.PersonID)
	w.str(`,"domarrollnamn":`, o.Role)
	w.str(`,"domarrollkortnamn":`, o.RoleShort)
	w.str(`,"telefon":`, o.Phone)
	w.str(`,"mobiltelefon":`, o.Mobile)
	w.str(`,"telefonarbete":`, o.WorkPhone)
	w.str(`,"adress":`, o.Address)
	w.str(`,"coadress":`, o.CareOf)
	w.str(`,"epostadress":`, o.Email)
	w.str(`,"land":`, o.Country)
	w.str(`,"postnr":`, o.PostalCode)
	w.str(`,"postort":`, o.City)
	w.b = append(w.b, '}')
}

func (w *writer) contact(c *Contact) {
	w.int(`{"lagid":`, c.TeamID)
	w.str(`,"lagnamn":`, c.TeamName)
	w.int(`,"personid":`, c.PersonID)
	w.str(`,"personnamn":`, c.Name)
	w.str(`,"telefon":`, c.Phone)
	w.str(`,"mobiltelefon":`, c.Mobile)
	w.str(`,"telefonarbete":`, c.WorkPhone)
	w.str(`,"adress":`, c.Address)
	w.str(`,"coadress":`, c.CareOf)
	w.str(`,"epostadress":`, c.Email)
	w.str(`,"land":`, c.Country)
	w.str(`,"postnr":`, c.PostalCode)
	w.str(`,"postort":`, c.City)
	w.bool(`,"reserv":`, c.Reserve)
	w.int(`,"foreningId":`, c.ClubID)
	w.b = append(w.b, '}')
}

// isCanonicalInt tells whether text is an integer as it would be written.
func isCanonicalInt(text string) bool {
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil && isNumber(text) && text != "-0"
}
