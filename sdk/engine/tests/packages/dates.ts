// Dates of date-fns. A room has no `Intl`, and date-fns brings its own languages.

import { addMonths, differenceInCalendarDays, format, formatDistance, formatISO, isWeekend, parse, parseISO, startOfWeek } from "date-fns";
import { de } from "date-fns/locale/de";
import { type Connection, Server, type WSMessage } from "partyserver";

export default class Dates extends Server {
  override onMessage(connection: Connection, message: WSMessage) {
    if (message !== "valid") format(new Date(Number.NaN), "yyyy");
    const day = parseISO("2024-01-31T12:30:00");
    connection.send(
      JSON.stringify([
        format(day, "yyyy-MM-dd HH:mm EEEE"),
        format(day, "d. MMMM yyyy", { locale: de }),
        format(addMonths(day, 1), "yyyy-MM-dd"),
        differenceInCalendarDays(parseISO("2024-03-01"), day),
        formatDistance(day, addMonths(day, 5)),
        formatISO(startOfWeek(day, { weekStartsOn: 1 }), { representation: "date" }),
        isWeekend(day),
        format(parse("24.12.2023", "dd.MM.yyyy", new Date(0)), "yyyy/MM/dd"),
      ]),
    );
  }
}
