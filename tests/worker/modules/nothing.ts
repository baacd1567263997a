/** No `onpub` module: it has no function to export. */
export default "nothing";
