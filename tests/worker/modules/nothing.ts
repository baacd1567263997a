/** A module that gets no messages: all have handlers of their own. */
export default function nothing(): void {}
