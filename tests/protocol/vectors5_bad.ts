/** Packets of MQTT 5 that are wrong: the statement that they break, and the reason code that DISCONNECT has for it. */
const MALFORMED = 129, PROTOCOL_ERROR = 130;

type Row = [
  statement: string,
  reason: number,
  name: string,
  bytes: string,
  /** With how many bytes the mistake is found, if not with all. */
  found?: number,
  code?: "unknowncp",
];

/** Reason codes that a packet does not have. */
const codes: [statement: string, type: string, before: string, behind: string, codes: string][] = [
  ["3.2.2-8", "CONNACK", "20 03 00", "00", "01 02 7f 8b 91 98 9e ff"],
  ["3.4.2-1", "PUBACK", "40 03 0001", "", "01 11 81 92 9e ff"],
  ["3.5.2-1", "PUBREC", "50 03 0001", "", "01 11 81 92 9e ff"],
  ["3.6.2-1", "PUBREL", "62 03 0001", "", "01 10 80 91 93"],
  ["3.7.2-1", "PUBCOMP", "70 03 0001", "", "01 10 80 91 93"],
  ["3.9.3-2", "SUBACK", "90 04 0001 00", "", "03 04 7f 81 90 a3 ff"],
  ["3.11.3-2", "UNSUBACK", "b0 04 0001 00", "", "01 10 81 97 9e"],
  ["3.14.2-1", "DISCONNECT", "e0 01", "", "01 03 05 18 84 88 8a 8c 91 92 a3"],
  ["3.15.2-1", "AUTH", "f0 02", "00", "01 17 1a 80 ff"],
];

export const badPackets: Row[] = [
  // The fixed header
  ["4.13.1-1", MALFORMED, "the reserved type 0", "00", 1, "unknowncp"],
  ["4.13.1-1", MALFORMED, "the reserved type 0 with flags", "0f 00", 1, "unknowncp"],
  ["2.1.3-1", MALFORMED, "CONNECT with flags", "11", 1],
  ["2.1.3-1", MALFORMED, "CONNACK with flags", "28", 1],
  ["2.1.3-1", MALFORMED, "PUBACK with flags", "42", 1],
  ["2.1.3-1", MALFORMED, "PUBREC with flags", "51", 1],
  ["3.6.1-1", MALFORMED, "PUBREL without its flag", "60", 1],
  ["3.6.1-1", MALFORMED, "PUBREL with flag 3", "63", 1],
  ["2.1.3-1", MALFORMED, "PUBCOMP with flags", "72", 1],
  ["3.8.1-1", MALFORMED, "SUBSCRIBE without its flag", "80", 1],
  ["2.1.3-1", MALFORMED, "SUBACK with flags", "92", 1],
  ["3.10.1-1", MALFORMED, "UNSUBSCRIBE without its flag", "a0", 1],
  ["2.1.3-1", MALFORMED, "UNSUBACK with flags", "b2", 1],
  ["2.1.3-1", MALFORMED, "PINGREQ with flags", "c1", 1],
  ["2.1.3-1", MALFORMED, "PINGRESP with flags", "d8", 1],
  ["3.14.1-1", MALFORMED, "DISCONNECT with flags", "e1", 1],
  ["3.15.1-1", MALFORMED, "AUTH with flags", "f1", 1],
  ["3.15.1-1", MALFORMED, "AUTH with every flag", "ff", 1],
  ["3.3.1-4", MALFORMED, "PUBLISH of QoS 3", "36", 1],
  ["3.3.1-2", PROTOCOL_ERROR, "PUBLISH with DUP at QoS 0", "38", 1],
  ["1.5.5-1", MALFORMED, "a remaining length with a byte too many", "c0 80 00"],
  ["1.5.5-1", MALFORMED, "a PUBLISH whose remaining length has a byte too many", '30 86 00 0001 "a" 00 "hi"', 3],
  ["1.5.5-1", MALFORMED, "a remaining length with two bytes too many", "e0 81 80 00"],
  ["4.13.1-1", MALFORMED, "a remaining length of five bytes", "30 80 80 80 80 01", 5],
  ["4.13.1-1", MALFORMED, "PINGREQ of one byte", "c0 01 00", 2],
  ["4.13.1-1", MALFORMED, "PINGRESP of two bytes", "d0 02 0000", 2],
  // Fields that do not fit
  ["4.13.1-1", MALFORMED, "CONNACK of no bytes", "20 00"],
  ["4.13.1-1", MALFORMED, "CONNACK of one byte", "20 01 00"],
  ["2.2.2-1", MALFORMED, "CONNACK as MQTT 3.1.1 has it", "20 02 00 00"],
  ["4.13.1-1", MALFORMED, "CONNACK with a byte too many", "20 04 00 00 00 00"],
  ["3.2.2-1", MALFORMED, "CONNACK with flags 2", "20 03 02 00 00"],
  ["3.2.2-1", MALFORMED, "CONNACK with every flag", "20 03 ff 00 00"],
  ["4.13.1-1", MALFORMED, "PUBLISH of no bytes", "30 00"],
  ["4.13.1-1", MALFORMED, "PUBLISH of one byte", "30 01 00"],
  ["2.2.2-1", MALFORMED, "PUBLISH as MQTT 3.1.1 has it", '30 03 0001 "a"'],
  ["4.13.1-1", MALFORMED, "PUBLISH whose name is longer than the packet", '30 04 0009 "ab"'],
  ["4.13.1-1", MALFORMED, "PUBLISH at QoS 1 without packet identifier", '32 03 0001 "a"'],
  ["2.2.1-4", PROTOCOL_ERROR, "PUBLISH with packet identifier 0", '32 06 0001 "a" 0000 00'],
  ["4.7.3-1", PROTOCOL_ERROR, "PUBLISH to an empty name", "30 03 0000 00"],
  ["4.7.3-1", PROTOCOL_ERROR, "PUBLISH to an empty name with a property", "30 05 0000 02 01 00"],
  ["4.13.1-1", PROTOCOL_ERROR, "PUBLISH to an alias that stands for nothing", "30 06 0000 03 23 0001"],
  ["3.3.2-2", PROTOCOL_ERROR, "PUBLISH to a wildcard", '30 04 0001 "#" 00'],
  ["3.3.2-2", PROTOCOL_ERROR, "PUBLISH to a wildcard with an alias", '30 07 0001 "+" 03 23 0001'],
  ["1.5.4-1", MALFORMED, "PUBLISH to a name that is not UTF-8", "30 05 0002 c080 00"],
  ["1.5.4-1", MALFORMED, "PUBLISH to a surrogate", "30 06 0003 eda080 00"],
  ["1.5.4-2", MALFORMED, "PUBLISH to U+0000", "30 04 0001 00 00"],
  ...["40 PUBACK", "50 PUBREC", "62 PUBREL", "70 PUBCOMP"].flatMap((each): Row[] => {
    const [first, type] = each.split(" ");
    return [
      ["4.13.1-1", MALFORMED, `${type} of no bytes`, `${first} 00`],
      ["4.13.1-1", MALFORMED, `${type} of one byte`, `${first} 01 00`],
      ["2.2.1-5", PROTOCOL_ERROR, `${type} with packet identifier 0`, `${first} 02 0000`],
      ["2.2.1-5", PROTOCOL_ERROR, `${type} with packet identifier 0 and a code`, `${first} 03 0000 00`],
      ["4.13.1-1", MALFORMED, `${type} with a byte too many`, `${first} 05 0001 00 00 00`],
    ];
  }),
  ...codes.flatMap(([statement, type, before, behind, list]) =>
    list.split(" ").map((code): Row => {
      const bytes = `${before} ${code} ${behind}`;
      return [statement, PROTOCOL_ERROR, `${type} with reason code ${parseInt(code, 16)}, which it has not`, bytes];
    })
  ),
  // SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK
  ["2.2.1-3", PROTOCOL_ERROR, "SUBSCRIBE with packet identifier 0", '82 07 0000 00 0001 "a" 00'],
  ["3.8.3-2", PROTOCOL_ERROR, "SUBSCRIBE without a filter", "82 03 0001 00"],
  ["4.13.1-1", MALFORMED, "SUBSCRIBE without options", '82 06 0001 00 0001 "a"'],
  ["3.8.3-5", MALFORMED, "SUBSCRIBE with reserved option 6", '82 07 0001 00 0001 "a" 40'],
  ["3.8.3-5", MALFORMED, "SUBSCRIBE with reserved option 7", '82 07 0001 00 0001 "a" 81'],
  ["4.13.1-1", PROTOCOL_ERROR, "SUBSCRIBE at QoS 3", '82 07 0001 00 0001 "a" 03'],
  ["4.13.1-1", PROTOCOL_ERROR, "SUBSCRIBE with retain handling 3", '82 07 0001 00 0001 "a" 30'],
  ["3.8.3-4", PROTOCOL_ERROR, "SUBSCRIBE with no local to a shared subscription", '82 10 0001 00 000a "$share/g/a" 05'],
  ["4.8.2-1", PROTOCOL_ERROR, "SUBSCRIBE to a shared subscription without a name", '82 0f 0001 00 0009 "$share//a" 00'],
  ["4.8.2-1", PROTOCOL_ERROR, "SUBSCRIBE to $share/", '82 0d 0001 00 0007 "$share/" 00'],
  [
    "4.8.2-2",
    PROTOCOL_ERROR,
    "SUBSCRIBE to a shared subscription without a filter",
    '82 0f 0001 00 0009 "$share/g/" 00',
  ],
  ["4.8.2-2", PROTOCOL_ERROR, "SUBSCRIBE to a shared subscription and no slash", '82 0e 0001 00 0008 "$share/g" 00'],
  ["4.8.2-2", PROTOCOL_ERROR, "SUBSCRIBE to a shared subscription of a wildcard", '82 10 0001 00 000a "$share/+/a" 00'],
  ["4.7.1-1", PROTOCOL_ERROR, "SUBSCRIBE to a#", '82 08 0001 00 0002 "a#" 00'],
  ["4.7.1-1", PROTOCOL_ERROR, "SUBSCRIBE to #/a", '82 09 0001 00 0003 "#/a" 00'],
  ["4.7.1-2", PROTOCOL_ERROR, "SUBSCRIBE to a+", '82 08 0001 00 0002 "a+" 00'],
  ["4.7.3-1", PROTOCOL_ERROR, "SUBSCRIBE to an empty filter", "82 06 0001 00 0000 00"],
  ["1.5.4-1", MALFORMED, "SUBSCRIBE to what is not UTF-8", "82 07 0001 00 0001 ff 00"],
  ["1.5.4-2", MALFORMED, "SUBSCRIBE to U+0000", "82 07 0001 00 0001 00 00"],
  ["2.2.1-6", PROTOCOL_ERROR, "SUBACK with packet identifier 0", "90 04 0000 00 00"],
  ["3.8.4-6", PROTOCOL_ERROR, "SUBACK without a code", "90 03 0001 00"],
  ["4.13.1-1", MALFORMED, "SUBACK of one byte", "90 01 00"],
  ["2.2.1-3", PROTOCOL_ERROR, "UNSUBSCRIBE with packet identifier 0", 'a2 06 0000 00 0001 "a"'],
  ["3.10.3-2", PROTOCOL_ERROR, "UNSUBSCRIBE without a filter", "a2 03 0001 00"],
  ["4.7.1-2", PROTOCOL_ERROR, "UNSUBSCRIBE from a+", 'a2 07 0001 00 0002 "a+"'],
  ["2.2.1-6", PROTOCOL_ERROR, "UNSUBACK with packet identifier 0", "b0 04 0000 00 00"],
  ["3.11.3-1", PROTOCOL_ERROR, "UNSUBACK without a code", "b0 03 0001 00"],
  ["2.2.2-1", MALFORMED, "UNSUBACK as MQTT 3.1.1 has it", "b0 02 0001"],
  // CONNECT
  ["4.13.1-1", MALFORMED, "CONNECT of no bytes", "10 00"],
  ["3.1.2-1", PROTOCOL_ERROR, "CONNECT with another protocol name", '10 0e 0004 "mqtt" 05 02 003c 00 0001 "i"'],
  ["3.1.2-2", PROTOCOL_ERROR, "CONNECT of MQTT 3.1.1", '10 0d 0004 "MQTT" 04 02 003c 0001 "i"'],
  ["3.1.2-3", MALFORMED, "CONNECT with the reserved flag", '10 0e 0004 "MQTT" 05 03 003c 00 0001 "i"'],
  ["3.1.2-11", MALFORMED, "CONNECT with a will QoS without a will", '10 0e 0004 "MQTT" 05 0a 003c 00 0001 "i"'],
  ["3.1.2-13", MALFORMED, "CONNECT with will retain without a will", '10 0e 0004 "MQTT" 05 22 003c 00 0001 "i"'],
  [
    "3.1.2-12",
    MALFORMED,
    "CONNECT with a will of QoS 3",
    '10 15 0004 "MQTT" 05 1e 003c 00 0001 "i" 00 0001 "w" 0001 "m"',
  ],
  ["3.1.3-1", MALFORMED, "CONNECT with a byte too many", '10 0f 0004 "MQTT" 05 02 003c 00 0001 "i" 00'],
  ["4.13.1-1", MALFORMED, "CONNECT without its user name", '10 0e 0004 "MQTT" 05 82 003c 00 0001 "i"'],
  ["2.2.2-1", MALFORMED, "CONNECT without the will's properties", '10 0e 0004 "MQTT" 05 06 003c 00 0001 "i"'],
  [
    "3.3.2-2",
    PROTOCOL_ERROR,
    "CONNECT with a wildcard in the will topic",
    '10 15 0004 "MQTT" 05 06 003c 00 0001 "i" 00 0001 "#" 0001 "m"',
  ],
  [
    "1.5.4-1",
    MALFORMED,
    "CONNECT with a user name that is not UTF-8",
    '10 11 0004 "MQTT" 05 82 003c 00 0001 "i" 0001 ff',
  ],
  // DISCONNECT and AUTH
  ["4.13.1-1", MALFORMED, "DISCONNECT with a byte too many", "e0 03 00 00 00"],
  ["2.2.2-1", MALFORMED, "AUTH with a code only", "f0 01 18"],
  ["4.13.1-1", MALFORMED, "AUTH with a byte too many", 'f0 07 18 04 15 0001 "m" 00'],
];
