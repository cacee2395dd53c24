// Browsers start no worker for a page from the disk. There, the search's worker runs in
// a frame instead, which has the few parts of a worker that the search uses.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.srcdoc = `<script src="${new URL(url, location)}"></script>`;
      this.loaded = new Promise((done) => (this.frame.onload = done)).then(() => {
        const inner = this.frame.contentWindow;
        inner.postMessage = (data) => this.onmessage?.({ data });
        return inner;
      });
      document.body.append(this.frame);
    }

    postMessage(data) {
      this.loaded.then((inner) => inner.onmessage({ data }));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
