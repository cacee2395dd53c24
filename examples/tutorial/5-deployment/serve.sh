#!/bin/sh
echo $$ >serve.pid
exec roam-trio serve server:handlers --listen tls://127.0.0.1:7000 \
    --cert server.pem --client-ca ca.pem \
    --workers 2 --reflection --grace 10
