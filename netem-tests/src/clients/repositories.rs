//! What fetches from repositories: git, apt and skopeo.

use super::{
    row::{Package, Row, Through},
    servers::{self, SKOPEO},
    ssh::{BEFORE, SSH, options},
};

const GIT: Row = Row {
    needs: &[Package {
        name: "git",
        file: "/usr/bin/git",
    }],
    site: r#"
export GIT_CONFIG_NOSYSTEM=1
git init -q work && cp $FILE work/
git -C work add $FILE
git -C work -c user.name=lab -c user.email=lab@lab.invalid commit -q -m lab
mkdir git && git clone -q --bare work git/lab.git
git -C git/lab.git repack -q -a -d
"#,
    got: "lab/source.bin",
    ..Row::FETCH
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "git-http",
        servers: &[servers::CGI, servers::WEB],
        command: "git {via} clone -q http://$HOST/git/lab.git",
        through: Through::Setting("-c http.proxy=http://$PROXY"),
        ..GIT
    },
    Row {
        name: "git-ssh",
        needs: &[GIT.needs[0], SSH],
        servers: &[servers::SSH],
        before: BEFORE,
        command: concat!(
            "export GIT_SSH_COMMAND=\"ssh ",
            options!(),
            " {via}\"\n",
            "git clone -q \"root@$HOST:$SERVED/git/lab.git\""
        ),
        through: Through::Setting("-o 'ProxyCommand=$CONNECT %h %p'"),
        ..GIT
    },
    Row {
        name: "apt",
        needs: &[
            Package {
                name: "apt",
                file: "/usr/bin/apt-get",
            },
            Package {
                name: "dpkg",
                file: "/usr/bin/dpkg-deb",
            },
        ],
        servers: &[servers::WEB],
        site: r#"
mkdir -p apt tree/DEBIAN && cp $FILE tree/
cat >tree/DEBIAN/control <<END
Package: lab-file
Version: 1
Architecture: all
Maintainer: lab <lab@lab.invalid>
Description: A file
END
dpkg-deb -Znone -b tree apt/lab-file_1_all.deb >/dev/null
{ cat tree/DEBIAN/control
  echo "Filename: ./lab-file_1_all.deb"
  echo "Size: $(stat -c %s apt/lab-file_1_all.deb)"
  echo "SHA256: $(sha256sum apt/lab-file_1_all.deb | cut -c 1-64)"; } >apt/Packages
"#,
        before: r#"
mkdir -p etc/preferences.d lists/partial cache/archives/partial && touch status
cat >apt.conf <<END
Dir::Etc "$PWD/etc"; Dir::State "$PWD"; Dir::State::status "$PWD/status"; Dir::Cache "$PWD/cache";
APT::Sandbox::User "root"; Acquire::Retries "0"; Acquire::Languages "none";
END
echo "deb [trusted=yes] http://$HOST/apt ./" >etc/sources.list
"#,
        command: r#"
export APT_CONFIG="$PWD/apt.conf"
apt-get -qq -o Acquire::http::Proxy={via} update
apt-get -qq -o Acquire::http::Proxy={via} download lab-file
mv lab-file_1_all.deb out
"#,
        through: Through::Setting("http://$PROXY"),
        direct: "DIRECT",
        served: "apt/lab-file_1_all.deb",
        ..Row::FETCH
    },
    Row {
        name: "skopeo",
        needs: &[SKOPEO],
        servers: &[servers::REGISTRY],
        site: "tar c $FILE | gzip -1 -n >layer",
        command: r#"
{via} skopeo copy -q --insecure-policy --src-tls-verify=false docker://$HOST:5000/lab:1 dir:image
mv "image/$(sha256sum "$SERVED/layer" | cut -c 1-64)" out
"#,
        through: Through::Setting("HTTP_PROXY=http://$PROXY"),
        served: "layer",
        ..Row::FETCH
    },
];
